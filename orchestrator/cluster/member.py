"""A node of a job that is not its first: it lends its CPUs and GPUs, and ends with the head."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from orchestrator.cluster.address import interface_address, route_to
from orchestrator.cluster.allocation import Allocation
from orchestrator.cluster.folder import private_folder
from orchestrator.cluster.processes import MARK, SHIELDED, end_all, guarded, mark_of, shielded
from orchestrator.cluster.rendezvous import Rendezvous, await_head, meeting_place
from orchestrator.cluster.roll import Line, join
from orchestrator.cluster.settings import MEMORY_SHARE, OBJECT_STORE_BYTES, settle

HEAD_SECONDS = 600.0
"""How long the head may take to start."""

JOIN_SECONDS = 300.0
"""How long Ray may take to start here."""

LAST_SECONDS = 180.0
"""How long a head that was told of a loss may take to end the run."""

OVER, HEAD_LOST, TROUBLE = 0, 1, 1


def node_resource(node_id: int) -> str:
    """The name under which Ray knows which node of the job one of its own is."""
    return f"eos-node-{node_id}"


def serve(
    allocation: Allocation,
    run: Path,
    *,
    root: Path | None = None,
    interface: str | None = None,
    check: Callable[[Mapping[str, str]], Sequence[str]] = lambda versions: (),
) -> tuple[int, str]:
    """Lend this node until the head says that it is over.

    The job's signals are the head's business: they are not heeded here. ``check`` says what keeps
    this node from taking part, given the head's versions. Returns the exit status and what
    happened: 0 only if the head ended the run in order.

    Raises:
        NoHeadError: the head did not start.
    """
    for number in SHIELDED:
        signal.signal(number, _not_heeded)
    head = await_head(meeting_place(run, allocation), HEAD_SECONDS)
    with contextlib.closing(join(head.roll, head.token, allocation.node_id, JOIN_SECONDS)) as line:
        news = _News(line)
        if problems := check(head.versions):
            return _in_trouble("; ".join(problems), line, news)
        own = interface_address(interface) if interface else route_to(head.roll[0])
        settle(alone=False, token=head.token)
        folder = private_folder(root)
        mark = os.environ[MARK] = mark_of(allocation, folder)
        with guarded(mark, folder):
            try:
                return _lend(allocation, head, own, folder, line, news)
            finally:
                end_all(mark)
                shutil.rmtree(folder, ignore_errors=True)


def _lend(
    allocation: Allocation, head: Rendezvous, own: str, folder: Path, line: Line, news: _News
) -> tuple[int, str]:
    """Join the head's Ray, until it is over."""
    from jobs.memory import machine_memory  # with torch, which only a run needs

    memory = min(allocation.memory or machine_memory(), machine_memory())
    log = folder / "start.log"
    with shielded(), log.open("wb") as output:
        node = subprocess.Popen(
            _command(allocation, head, own, folder, int(MEMORY_SHARE * memory)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    line.send(joined=True)
    while not news.over.wait(0.2):
        if node.poll() is not None:
            name, why = allocation.nodes[allocation.node_id], _last_words(log) or node.returncode
            return _in_trouble(f"Ray on node {name} ended ({why})", line, news)
    if news.orderly:
        return OVER, "the run is over"
    return HEAD_LOST, f"the first node, {allocation.nodes[0]}, is gone"


def _in_trouble(trouble: str, line: Line, news: _News) -> tuple[int, str]:
    """Tell the head, and wait for its end.

    SLURM may end a whole job of which one task fails: a head that ends in order must not be cut
    short, and says itself how the job went.
    """
    line.send(trouble=trouble)
    news.over.wait(LAST_SECONDS)
    return (OVER if news.orderly else TROUBLE), trouble


class _News:
    """What the head says: that it is over, or nothing more because it is gone."""

    def __init__(self, line: Line) -> None:
        self.over = threading.Event()
        self.orderly = False
        threading.Thread(target=self._listen, args=(line,), daemon=True).start()

    def _listen(self, line: Line) -> None:
        message = line.receive()
        self.orderly = message is not None and bool(message.get("over"))
        self.over.set()


def _command(
    allocation: Allocation, head: Rendezvous, own: str, folder: Path, memory: int
) -> list[str]:
    """How Ray is told to join; the token is in the environment, never here."""
    options = {
        "address": head.ray,
        "node-ip-address": own,
        "num-cpus": allocation.cpus,
        "num-gpus": allocation.gpus or 0,
        "memory": memory,
        "object-store-memory": OBJECT_STORE_BYTES,
        "resources": json.dumps({node_resource(allocation.node_id): 1}),
        # The system chooses: two clusters on one machine never take each other's.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": folder,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *flags]


def _last_words(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        return " ".join([line for line in lines if line][-3:])
    return ""


def _not_heeded(number: int, frame: FrameType | None) -> None:
    """A Python handler, unlike SIG_IGN, is not passed on to the processes that are started."""
