"""The identity of a process on its host, which holds even when its number is used again.

Its start is known in clock ticks since boot. psutil's ``create_time`` would not do: it adds the
boot time of /proc/stat, which moves when the machine's clock is set; a living process would then
look dead.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process by host, boot, process namespace, number, and start in clock ticks since boot."""

    hostname: str
    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def own(cls) -> ProcessIdentity:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _namespace(), pid, _start_time(pid) or 0)

    def is_dead(self) -> bool | None:
        """Whether the process has ended; None where this cannot be seen from here."""
        if (self.hostname, self.namespace) != (socket.gethostname(), _namespace()):
            return None
        return self.boot != _boot() or _start_time(self.pid) != self.started

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return dataclasses.asdict(self)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process, or only its corpse."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])
