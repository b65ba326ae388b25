"""The processes of a cluster: shielded from the job's signals, and none left at its end.

Run as a program, it is a guard: it waits until the process that started it is gone, and then ends
those of the cluster, which heed no polite signal. It needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.cluster.allocation import Allocation

MARK = "EOS_CLUSTER"
"""The environment variable by which every process of a cluster is known as its own."""

SHIELDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""SLURM sends its signals to every process of a step; those that compute must live on to save what
they have when the run, which alone heeds the signal, tells them to."""

PATIENCE_SECONDS = 10.0

SERVERS = {"raylet", "gcs_server"}
"""The processes without which nothing of Ray works on a machine."""


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
    own, above = os.getpid(), set()
    while own > 1:
        above.add(own)
        own = _parent(own)
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in above:
            continue
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def end_all(mark: str, seconds: float = PATIENCE_SECONDS) -> list[int]:
    """End every process of a cluster; returns those that even SIGKILL did not end in time."""
    end = time.monotonic() + seconds
    while (left := marked(mark)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return left


@contextlib.contextmanager
def ended_after(mark: str, seconds: float) -> Iterator[None]:
    """While this context lasts, wait so long, then end every process of a cluster.

    Ray waits a second for each of its processes, one after another, where none heeds a SIGTERM.
    """
    over = threading.Event()

    def end() -> None:
        if not over.wait(seconds):
            end_all(mark)

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

    Should this process be killed, every process of the cluster is ended and its folder removed.
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
        guard.kill()
        guard.communicate()


@contextlib.contextmanager
def watched(mark: str, on_loss: Callable[[str], None]) -> Iterator[None]:
    """While this context lasts, tell of a server of Ray on this machine that dies."""
    over = threading.Event()
    servers = {pid: name for pid in marked(mark) if (name := _name(pid)) in SERVERS}

    def watch() -> None:
        while not over.wait(1.0):
            for pid, name in servers.items():
                if _name(pid) != name:
                    on_loss(f"Ray's {name} on this node died")
                    return

    with shielded():
        threading.Thread(target=watch, name="servers", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _name(pid: int) -> str | None:
    """The name of a living process."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if rest.split()[0] in "ZX" else name


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _guard() -> None:
    """Wait for the end of the standard input, which is that of the process to watch."""
    sys.stdin.read()
    end_all(sys.argv[1])
    shutil.rmtree(sys.argv[2], ignore_errors=True)


if __name__ == "__main__":
    _guard()
