"""The processes of a cluster: shielded from the job's signals, and none left at its end.

Run as a program, it is a guard: it waits until the process that started it is gone, and then ends
those of the cluster, which heed no polite signal. It needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.cluster.allocation import Allocation

MARK = "EOS_CLUSTER"
"""The environment variable by which every process of a cluster is known as its own."""

SHIELDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""SLURM sends its signals to every process of a step; those that compute must live on to save what
they have when the run, which alone heeds the signal, tells them to."""

PATIENCE_SECONDS = 10.0

LOOK_SECONDS, MOST_LOOK_SECONDS = 2.0, 30.0
"""Between the guard's looks at which processes descend from those of the cluster; it grows, for
most start soon, and a look takes time where a machine has many processes."""


class Process(NamedTuple):
    """A process: its number, and when it began, for numbers are used again."""

    pid: int
    started: int


def mark_of(allocation: Allocation, folder: Path) -> str:
    """The mark of the processes on this machine of one cluster: its job, its node, its folder.

    The folder is named after the process that leads here. Two SLURMs on one machine, each with a
    job of the same number, have clusters of different marks.
    """
    return f"{allocation.key}.{allocation.node_id}.{folder.name}"


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """What is started within is not reached by the job's signals, but for SIGKILL.

    So processes are; and threads, so that a signal meets the main thread and waits while it blocks.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHIELDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """:func:`shielded`; and the handlers of those signals are afterwards what they were before.

    Ray puts in handlers of its own when it starts, and when it ends it gives SIGTERM back to the
    system, which ends a process at once, while Python takes its own handler to be still in force.
    """
    in_charge = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SHIELDED} if in_charge else {}
    with shielded():
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def marked(mark: str) -> list[int]:
    """The living processes of a cluster, but for this one and those above it."""
    return sorted(process.pid for process in kin(mark))


def kin(mark: str, known: Iterable[Process] = ()) -> set[Process]:
    """The living processes of a cluster: the marked, the ``known``, and all that descend from them.

    A process that renames itself may lose its environment, and with it the mark; one whose parent
    is gone descends from nobody. Who looks again and again, with what is known, misses neither.
    """
    table = {process.pid: process for process in _processes()}
    above, own = set(), os.getpid()
    while own in table:
        above.add(own)
        own = table[own].parent
    wanted = f"{MARK}={mark}".encode()
    ours = {pid for pid, started in known if pid in table and table[pid].started == started}
    ours |= {pid for pid in table if pid not in above and wanted in _environment(pid)}
    ours -= above
    while more := {pid for pid in table if table[pid].parent in ours} - ours - above:
        ours |= more
    return {Process(pid, table[pid].started) for pid in ours}


def end_all(
    mark: str, seconds: float = PATIENCE_SECONDS, known: Iterable[Process] = ()
) -> list[int]:
    """End every process of a cluster; returns those that even SIGKILL did not end in time.

    ``known`` is what :func:`kin` said before.
    """
    end, left = time.monotonic() + seconds, set(known)
    while (left := kin(mark, left)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    return sorted(process.pid for process in left)


@contextlib.contextmanager
def ended_after(mark: str, seconds: float) -> Iterator[None]:
    """While this context lasts, wait so long, then end every process of a cluster.

    Ray waits a second for each of its processes, one after another, where none heeds a SIGTERM.
    """
    over, known = threading.Event(), kin(mark)

    def end() -> None:
        if not over.wait(seconds):
            end_all(mark, known=known)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def guarded(mark: str, folder: Path) -> Iterator[None]:
    """While this context lasts, see to it that the cluster does not outlive this process.

    At its end, or should this process be killed, every process of the cluster that is left is ended
    and its folder removed, by another process that has known them all along.
    """
    environment = {key: value for key, value in os.environ.items() if key != MARK}
    with shielded():
        guard = subprocess.Popen(
            [sys.executable, "-I", __file__, mark, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    try:
        yield
    finally:
        try:
            guard.communicate(timeout=2 * PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.communicate()


def named(mark: str, names: Collection[str]) -> dict[Process, str]:
    """The processes of a cluster with one of these names; those too that are dead and not reaped.

    The dead have no environment any more, but still a parent.
    """
    ours = {os.getpid(), *marked(mark)}
    return {
        Process(stat.pid, stat.started): stat.name
        for stat in _processes(dead=True)
        if stat.name in names and (stat.pid in ours or (not stat.alive and stat.parent in ours))
    }


def lives(process: Process) -> bool:
    """Whether a process is still there."""
    stat = _stat(process.pid)
    return stat is not None and stat.alive and stat.started == process.started


class _Stat(NamedTuple):
    pid: int
    name: str
    parent: int
    started: int
    alive: bool


def _processes(*, dead: bool = False) -> Iterator[_Stat]:
    """All that live; the ``dead`` too that nobody has reaped."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            stat = _stat(int(folder.name))
            if stat is not None and (stat.alive or dead):
                yield stat


def _stat(pid: int) -> _Stat | None:
    """What the system says of a process; None where there is none."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    return _Stat(pid, name, int(fields[1]), int(fields[19]), fields[0] not in "ZX")


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _guard() -> None:
    """Wait for the end of the standard input, which is that of the process to watch."""
    mark, folder = sys.argv[1:]
    known, wait = kin(mark), LOOK_SECONDS
    while not select.select([sys.stdin], [], [], wait)[0]:
        known, wait = kin(mark, known), min(1.5 * wait, MOST_LOOK_SECONDS)
    end_all(mark, known=known)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard()
