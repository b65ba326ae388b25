"""The processes of a cluster on one machine: shielded, watched, and none left at its end.

Run as a program, it is a guard: it waits until the process that started it is gone, and then ends
those of the cluster, which heed no polite signal. It needs nothing but psutil.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.cluster.allocation import Allocation

CLUSTER_VARIABLE = "EOS_CLUSTER"
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


def cluster_id(allocation: Allocation, folder: Path) -> str:
    """The cluster of the processes on this machine of one cluster: its job, its node, its folder.

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


def living_pids(cluster: str) -> list[int]:
    """The living processes of a cluster, but for this one and those above it."""
    return sorted(process.pid for process in cluster_processes(cluster))


def cluster_processes(cluster: str, known: Iterable[Process] = ()) -> set[Process]:
    """The living processes of a cluster: the marked, the ``known``, and all that descend from
    them.

    A process that renames itself may lose its environment; one whose parent is gone descends from
    nobody. Who looks again and again, with what is known, misses neither.
    """
    table = {process.pid: process for process in _processes()}
    above, own = set(), os.getpid()
    while own in table:
        above.add(own)
        own = table[own].parent
    wanted = f"{CLUSTER_VARIABLE}={cluster}".encode()
    ours = {pid for pid, started in known if pid in table and table[pid].started == started}
    ours |= {pid for pid in table if pid not in above and wanted in _environment(pid)}
    ours -= above
    while more := {pid for pid in table if table[pid].parent in ours} - ours - above:
        ours |= more
    return {Process(pid, table[pid].started) for pid in ours}


def end_all(
    cluster: str, seconds: float = PATIENCE_SECONDS, known: Iterable[Process] = ()
) -> list[int]:
    """End every process of a cluster; returns those that even SIGKILL did not end in time.

    ``known`` is what :func:`cluster_processes` said before.
    """
    end, left = time.monotonic() + seconds, set(known)
    while (left := cluster_processes(cluster, left)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    return sorted(process.pid for process in left)


@contextlib.contextmanager
def ended_after(cluster: str, seconds: float) -> Iterator[None]:
    """While this context lasts, wait so long, then end every process of a cluster.

    Ray waits a second for each of its processes, one after another, where none heeds a SIGTERM.
    """
    over, known = threading.Event(), cluster_processes(cluster)

    def end() -> None:
        if not over.wait(seconds):
            end_all(cluster, known=known)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def guarded(cluster: str, folder: Path) -> Iterator[None]:
    """While this context lasts, see to it that the cluster does not outlive this process.

    At its end, or should this process be killed, every process of the cluster that is left is ended
    and its folder removed, by another process that has known them all along.
    """
    environment = {key: value for key, value in os.environ.items() if key != CLUSTER_VARIABLE}
    with shielded():
        guard = subprocess.Popen(
            [sys.executable, "-I", __file__, cluster, str(folder)],
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


def named(cluster: str, names: Collection[str]) -> dict[Process, str]:
    """The processes of a cluster with one of these names; those too that are dead and not reaped.

    The dead have no environment any more, but still a parent.
    """
    ours = {os.getpid(), *living_pids(cluster)}
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


OF_A_MEMBER = frozenset({"raylet"})
OF_A_HEAD = OF_A_MEMBER | {"gcs_server"}
"""The processes without which nothing of Ray works on a machine, or at all."""

LAST_LINES, LONGEST_LINE = 5, 300
"""Of a log, in a message. Of a longer line both ends are kept: Ray says why after much else."""

RECORD = re.compile(r"\[\d{4}-\d\d-\d\d ")
"""How a record begins in a server's log."""

LOOK_SECONDS = 0.5
"""Between looks at the servers."""


class Servers:
    """The servers of a cluster on this machine, watched by :func:`watched`.

    Attributes:
        death: what befell the first that died, in a sentence, and below it the last lines of its
            log; None while all live.
    """

    def __init__(
        self,
        names: frozenset[str],
        cluster: str,
        folder: Path,
        node: str,
        on_death: Callable[[str], None],
    ) -> None:
        self.death: str | None = None
        self._on_death = on_death
        self._names = names
        self._cluster, self._folder, self._node = cluster, folder, node
        self._seen: dict[Process, str] = {}
        self._before: set[Process] = set()
        self._changed = threading.Lock()

    def expect(self) -> None:
        """Forget what has died, before servers are started again."""
        with self._changed:
            self._before = set(named(self._cluster, self._names))
            self._seen, self.death = {}, None

    def look(self) -> None:
        """Look once, and tell of the first server that has died."""
        with self._changed:
            if self.death is not None:
                return
            if len(self._seen) < len(self._names):
                found = named(self._cluster, self._names)
                self._seen |= {one: name for one, name in found.items() if one not in self._before}
            dead = [name for one, name in self._seen.items() if not lives(one)]
            self.death = self._obituary(dead[0]) if dead else None
        if self.death is not None:
            self._on_death(self.death)

    def _obituary(self, name: str) -> str:
        lines = last_lines(self._folder, name)
        head = f"Ray's {name} on node {self._node} died"
        return "\n  ".join([f"{head}; the last lines of its log:", *lines]) if lines else head


@contextlib.contextmanager
def watched(
    names: frozenset[str],
    cluster: str,
    folder: Path,
    node: str,
    on_death: Callable[[str], None] = lambda death: None,
) -> Iterator[Servers]:
    """While this context lasts, tell from a thread of its own of a server that dies.

    Args:
        names: those of the servers that run here.
        cluster: that of the cluster's processes here.
        folder: the cluster's folder here, where Ray keeps its logs.
        node: the name of this machine in messages.
        on_death: told what befell a server.
    """
    servers, over = Servers(names, cluster, folder, node, on_death), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            servers.look()

    thread = threading.Thread(target=watch, name="servers", daemon=True)
    with shielded():
        thread.start()
    try:
        yield servers
    finally:
        over.set()
        thread.join()


def last_lines(folder: Path, name: str) -> list[str]:
    """The last records of the newest log of a server, and the end of its standard error."""
    sessions = sorted(folder.glob("session_*/logs"), key=lambda path: path.stat().st_mtime_ns)
    lines = []
    for path in (sessions[-1] / f"{name}.{kind}" for kind in ("out", "err") if sessions):
        with contextlib.suppress(OSError):
            text = [line.strip() for line in path.read_text(errors="replace").splitlines()]
            # Between its records, a server lists counts of its own over many lines.
            records = [line for line in text if RECORD.match(line)] or list(filter(None, text))
            lines += [_shortened(line) for line in records[-LAST_LINES:]]
    return list(dict.fromkeys(lines))  # what is fatal is in both files


def _shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


def _guard() -> None:
    """Wait for the end of the standard input, which is that of the process to watch."""
    cluster, folder = sys.argv[1:]
    known, wait = cluster_processes(cluster), LOOK_SECONDS
    while not select.select([sys.stdin], [], [], wait)[0]:
        known, wait = cluster_processes(cluster, known), min(1.5 * wait, MOST_LOOK_SECONDS)
    end_all(cluster, known=known)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard()
