"""Processes that are recognised even when their number is used again, and whole trees of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopback.errors import LoopbackError

LOOK_EVERY = 0.05
"""Seconds between two looks at something that is to happen."""


@dataclass(frozen=True)
class Process:
    """A process by its number and its start, in clock ticks since the host's boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; the corpse of a child of ours is collected on the way."""
        seen = _look(self.pid)
        if seen is None or seen.process != self:
            return False
        if seen.corpse:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        return not seen.corpse

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process, and to none if it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True)
class _Seen:
    process: Process
    parent: int
    name: str
    corpse: bool


def start(argv: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path) -> Process:
    """Start a program in a session and a working folder of its own; its output is added to `out`.

    It outlives the caller and inherits nothing but the environment given.
    """
    opened = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    in_folder = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *argv]
    pid = os.posix_spawn(
        in_folder[0], in_folder, environment, file_actions=opened, setsid=True,
        setsigmask=(), setsigdef=(signal.SIGINT, signal.SIGPIPE),
    )  # fmt: skip
    seen = _look(pid)
    if seen is None:
        raise LoopbackError(f"{argv[0]} ended at once; {out} may say why")
    return seen.process


def descendants(roots: Iterable[Process], name: str | None = None) -> list[Process]:
    """All living processes below the roots, parents first; only those called `name` if given."""
    children: dict[int, list[_Seen]] = {}
    for entry in Path("/proc").iterdir():
        seen = _look(int(entry.name)) if entry.name.isdigit() else None
        if seen is not None and not seen.corpse:
            children.setdefault(seen.parent, []).append(seen)
    found: list[_Seen] = []
    parents = [root.pid for root in roots if root.alive]
    while parents:
        below = [child for parent in parents for child in children.get(parent, [])]
        found += below
        parents = [child.process.pid for child in below]
    return [one.process for one in found if name in (None, one.name)]


def kill_trees(roots: Sequence[Process], seconds: float = 20) -> None:
    """Kill all that runs below the roots, at one instant as far as those killed can tell.

    Everything is stopped before anything is killed: no parent sees a child die, and none starts
    another.
    """
    stopped: set[Process] = set()
    while fresh := [one for one in descendants(roots) if one not in stopped]:
        for process in fresh:
            process.send(signal.SIGSTOP)
        stopped.update(fresh)
    waiting = until(seconds)
    while living := descendants(roots):
        for process in living:
            process.send(signal.SIGKILL)
        if not waiting():
            raise LoopbackError(f"process {living[0].pid} cannot be killed; the kernel holds it")


def end(process: Process, *, first: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
    """End a process: by the signal given, or by SIGKILL if it has not ended in time."""
    process.send(first)
    waiting = until(seconds)
    while process.alive:
        if not waiting():
            process.send(signal.SIGKILL)


def until(seconds: float) -> Callable[[], bool]:
    """A clock for a loop: it waits a little and says whether there is time for another round."""
    deadline = time.monotonic() + seconds

    def waiting() -> bool:
        time.sleep(LOOK_EVERY)
        return time.monotonic() < deadline

    return waiting


def _look(pid: int) -> _Seen | None:
    """From /proc/PID/stat, whose second field is the name in parentheses."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, *others = after.split()
    process = Process(pid, started=int(others[17]))
    return _Seen(process, int(parent), before.partition("(")[2], corpse=state in "ZX")
