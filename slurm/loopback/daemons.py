"""The daemons of one private SLURM: started, recorded in its state file, ended.

Whoever has the folder has the record: a daemon may be ended by another process than the one that
started it, and after a crash of either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopback.errors import LoopbackError
from loopback.layout import Layout
from loopback.processes import Process, end, start
from loopback.programs import program


@dataclass(frozen=True)
class Daemons:
    """The daemons by their names; those of a node, by the node's name, are its keepers."""

    layout: Layout

    def start(self, name: str, argv: Sequence[str]) -> Process:
        """Start a daemon and record it; what it prints goes to `log/NAME.out`."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "SLURM_CONF": str(self.layout.slurm_conf),
            # What the client library of slurmdbd takes "localhost" for.
            "MYSQL_UNIX_PORT": str(self.layout.database_socket),
        }
        process = start(argv, environment, self.layout.folder, self.layout.log / f"{name}.out")
        record = self._read()
        record.setdefault(name, []).append(asdict(process))
        self._write(record)
        return process

    def living(self, name: str) -> list[Process]:
        """The processes recorded under a name that still run."""
        return [one for one in self._recorded(name) if one.alive]

    def names(self) -> list[str]:
        """What was started since the host's boot, in that order."""
        return list(self._read())

    def stop(self, name: str) -> None:
        """Ask a daemon to end and wait until it has."""
        for process in self.living(name):
            end(process)

    def last_words(self, name: str) -> str:
        """The last two lines that a daemon printed as errors, for a message."""
        printed = self.layout.log / f"{name}.out"
        lines = printed.read_text(errors="replace").splitlines() if printed.exists() else []
        telling = [line for line in lines if "fatal" in line or "error" in line.lower()]
        return " / ".join((telling or lines or ["it said nothing"])[-2:])

    def expect(self, name: str, ready: Callable[[], bool], waiting: Callable[[], bool]) -> None:
        """Return when a daemon is ready; raise if it ends before, or when waiting is over."""
        while not ready():
            if not self.living(name):
                raise LoopbackError(f"{name} ended at once: {self.last_words(name)}")
            if not waiting():
                raise LoopbackError(f"{name} did not answer in time: {self.last_words(name)}")

    def _recorded(self, name: str) -> list[Process]:
        return [Process(**one) for one in self._read().get(name, [])]

    def _read(self) -> dict[str, Any]:
        state = read_state(self.layout)
        # After a reboot the same numbers mean other processes.
        return dict(state.get("daemons", {})) if state.get("boot") == _boot() else {}

    def _write(self, record: dict[str, Any]) -> None:
        update_state(self.layout, boot=_boot(), daemons=record)


def start_munged(daemons: Daemons, waiting: Callable[[], bool]) -> None:
    """Start the munged that vouches for users within this SLURM, with the key laid out for it."""
    munge = daemons.layout.munge
    daemons.start(
        "munged",
        [
            # By force: else it refuses folders that others than root may write above its own.
            program("munged"), "--foreground", "--force", f"--key-file={munge / 'key'}",
            f"--socket={daemons.layout.munge_socket}", f"--pid-file={munge / 'pid'}",
            f"--seed-file={munge / 'seed'}", f"--log-file={daemons.layout.log / 'munged.log'}",
        ],
    )  # fmt: skip
    daemons.expect("munged", daemons.layout.munge_socket.exists, waiting)


def read_state(layout: Layout) -> dict[str, Any]:
    """What the folder says of itself; empty where no SLURM was brought up."""
    try:
        state: dict[str, Any] = json.loads(layout.state.read_text())
    except FileNotFoundError:
        return {}
    return state


def update_state(layout: Layout, **changes: Any) -> None:
    """Change entries of the state file, which is replaced as a whole."""
    fresh = layout.state.with_suffix(".new")
    fresh.write_text(json.dumps({**read_state(layout), **changes}, indent=1))
    fresh.replace(layout.state)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
