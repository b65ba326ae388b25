"""The processes of a cluster on one machine: shielded, watched, and none left at its end.

Run as a program, it is a guard: it waits until the process that started it is gone, and then ends
those of the cluster, which ignore SIGTERM. It needs nothing but psutil.
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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from orchestrator.cluster.allocation import Allocation

CLUSTER_VARIABLE = "EOS_CLUSTER"
"""The environment variable that has the id of the cluster to which a process belongs."""

SHIELDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""SLURM sends its signals to every process of a step; those that compute must live on to save what
they have when the run, which alone heeds the signal, tells them to."""

END_SECONDS = 10.0
"""How long processes may take to end after SIGKILL."""

GUARD_SECONDS, LONGEST_GUARD_SECONDS = 2.0, 30.0
"""Between the guard's listings of the cluster's processes; it grows, because most start soon, and
a listing takes time where a machine has many processes."""

SERVER_SECONDS = 0.5
"""Between checks of Ray's servers."""

OF_A_MEMBER = frozenset({"raylet"})
OF_A_HEAD = OF_A_MEMBER | {"gcs_server"}
"""The processes without which nothing of Ray works on a machine, or at all."""

LAST_LINES, LONGEST_LINE = 5, 300
"""Of a log, in a message. Of a longer line both ends are kept: Ray says why after much else."""

_RECORD = re.compile(r"\[\d{4}-\d\d-\d\d ")
_DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def cluster_id(allocation: Allocation, folder: Path) -> str:
    """The id of the processes on this machine of one cluster: its job, its node, its folder.

    The folder is named after the process that leads here. Two SLURMs on one machine, each with a
    job of the same number, have clusters of different ids.
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
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SHIELDED} if in_main else {}
    with shielded():
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def cluster_processes(cluster: str, known: Collection[psutil.Process] = ()) -> set[psutil.Process]:
    """The living processes of a cluster: those with its id, the ``known``, and their descendants.

    This process and those above it are left out. A process that renames itself may lose its
    environment, and one whose parent is gone descends from nobody: whoever lists again, with what
    is known, misses neither.
    """
    return _of_cluster(_listed(), cluster, known)


def end_all(
    cluster: str, seconds: float = END_SECONDS, known: Iterable[psutil.Process] = ()
) -> list[int]:
    """End every process of a cluster; returns those that even SIGKILL did not end in time.

    ``known`` is what :func:`cluster_processes` said before.
    """
    end, left = time.monotonic() + seconds, set(known)
    while (left := cluster_processes(cluster, left)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.05)  # psutil.wait_procs would reap children that Ray itself waits for
    return sorted(process.pid for process in left)


@contextlib.contextmanager
def ended_after(cluster: str, seconds: float) -> Iterator[None]:
    """While this context lasts, wait ``seconds``, then end every process of a cluster.

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
            [sys.executable, "-P", __file__, cluster, str(folder)],
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
            guard.communicate(timeout=2 * END_SECONDS)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.communicate()


class Servers:
    """Ray's servers on this machine; while this context lasts, a thread tells of one that dies.

    Args:
        names: those of the servers that run here.
        cluster: the id of the cluster's processes here.
        folder: the cluster's folder here, where Ray keeps its logs.
        node: the name of this machine in messages.
        on_death: told the ``death``.

    Attributes:
        death: which died first, in a sentence, and below it the last lines of its log; None while
            all live.
    """

    def __init__(
        self,
        names: frozenset[str],
        cluster: str,
        folder: Path,
        node: str,
        on_death: Callable[[str], None] = lambda death: None,
    ) -> None:
        self.death: str | None = None
        self._names, self._on_death = names, on_death
        self._cluster, self._folder, self._node = cluster, folder, node
        self._found: dict[psutil.Process, str] = {}
        self._before: set[psutil.Process] = set()
        self._changed, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="servers", daemon=True)

    def __enter__(self) -> Servers:
        with shielded():
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def expect(self) -> None:
        """Forget what has died, before servers are started again."""
        with self._changed:
            self._before = set(named(self._cluster, self._names))
            self._found, self.death = {}, None

    def check(self) -> None:
        """Check once, and tell of the first server that has died."""
        with self._changed:
            if self.death is not None:
                return
            if len(self._found) < len(self._names):
                found = named(self._cluster, self._names)
                self._found |= {one: name for one, name in found.items() if one not in self._before}
            dead = [name for one, name in self._found.items() if not lives(one)]
            self.death = self._account_of(dead[0]) if dead else None
        if self.death is not None:
            self._on_death(self.death)

    def _watch(self) -> None:
        while not self._over.wait(SERVER_SECONDS):
            self.check()

    def _account_of(self, name: str) -> str:
        lines = last_lines(self._folder, name)
        head = f"Ray's {name} on node {self._node} died"
        return "\n  ".join([f"{head}; the last lines of its log:", *lines]) if lines else head


def named(cluster: str, names: Collection[str]) -> dict[psutil.Process, str]:
    """The processes of a cluster with one of these names; those too that are dead and not reaped.

    The dead have no environment any more, but still a parent.
    """
    listed = _listed()
    ours = {os.getpid(), *(process.pid for process in _of_cluster(listed, cluster))}
    return {
        process: facts["name"]
        for process, facts in listed.items()
        if facts["name"] in names
        and (process.pid in ours or (facts["status"] in _DEAD and facts["ppid"] in ours))
    }


def lives(process: psutil.Process) -> bool:
    """Whether a process is still there, and no zombie."""
    try:
        return process.is_running() and process.status() not in _DEAD
    except psutil.NoSuchProcess:
        return False


def last_lines(folder: Path, name: str) -> list[str]:
    """The last records of the newest log of a server, and the end of its standard error."""
    sessions = sorted(folder.glob("session_*/logs"), key=lambda path: path.stat().st_mtime_ns)
    lines = []
    for path in (sessions[-1] / f"{name}.{kind}" for kind in ("out", "err") if sessions):
        with contextlib.suppress(OSError):
            text = [line.strip() for line in path.read_text(errors="replace").splitlines()]
            # Between its records, a server lists counts of its own over many lines.
            records = [line for line in text if _RECORD.match(line)] or list(filter(None, text))
            lines += [_shortened(line) for line in records[-LAST_LINES:]]
    return list(dict.fromkeys(lines))  # what is fatal is in both files


def _shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"


def _listed() -> dict[psutil.Process, dict[str, Any]]:
    """All processes of this machine, also the dead that nobody has reaped, with facts on each.

    The environment is None where it cannot be read.
    """
    listed = {}
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            listed[process] = process.as_dict(["ppid", "name", "status", "environ"])
    return listed


def _of_cluster(
    listed: Mapping[psutil.Process, Mapping[str, Any]],
    cluster: str,
    known: Collection[psutil.Process] = (),
) -> set[psutil.Process]:
    living = {one: facts for one, facts in listed.items() if facts["status"] not in _DEAD}
    parents = {process.pid: facts["ppid"] for process, facts in living.items()}
    above, own = set(), os.getpid()
    while own in parents:
        above.add(own)
        own = parents[own]
    ours = {
        process.pid
        for process, facts in living.items()
        if process in known or (facts["environ"] or {}).get(CLUSTER_VARIABLE) == cluster
    }
    ours -= above
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours - above:
        ours |= more
    return {process for process in living if process.pid in ours}


def _guard() -> None:
    """Wait for the end of the standard input, which is that of the process to watch."""
    cluster, folder = sys.argv[1:]
    known, wait = cluster_processes(cluster), GUARD_SECONDS
    while not select.select([sys.stdin], [], [], wait)[0]:
        known = cluster_processes(cluster, known)
        wait = min(1.5 * wait, LONGEST_GUARD_SECONDS)
    end_all(cluster, known=known)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard()
