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
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from orchestrator.cluster.allocation import Allocation
from orchestrator.cluster.membership import Connection, join
from orchestrator.cluster.processes import (
    CLUSTER_VARIABLE,
    OF_A_MEMBER,
    SHIELDED,
    Servers,
    cluster_id,
    cluster_processes,
    end_all,
    guarded,
    shielded,
)
from orchestrator.cluster.ray_private import OBJECT_STORE_BYTES, START_MODULE, STARTS, settle
from orchestrator.cluster.rendezvous import (
    Rendezvous,
    await_head,
    interface_address,
    meeting_place,
    private_folder,
    route_to,
)
from orchestrator.first_line import first_line

HEAD_SECONDS = 600.0
"""How long the head may take to start."""

JOIN_SECONDS = 300.0
"""How long Ray may take to start here."""

LAST_SECONDS = 180.0
"""How long a head that was told of a loss may take to end the run."""

CHECK_SECONDS = 0.2
"""Between checks of what is started and of Ray's servers, while the head says nothing."""

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
    warn: Callable[[str], None] = lambda message: None,
) -> tuple[int, str]:
    """Lend this node until the head says that it is over.

    The job's signals are the head's business: they are not heeded here. ``check`` says what keeps
    this node from taking part, given the head's versions; ``warn`` is told what goes wrong. Returns
    the exit status and what happened: 0 only if the head ended the run in order.

    Raises:
        NoHeadError: the head did not start.
    """
    for number in SHIELDED:
        signal.signal(number, _not_heeded)
    head = await_head(meeting_place(run, allocation), HEAD_SECONDS)
    with contextlib.closing(
        join(head.membership, head.token, allocation.node_id, JOIN_SECONDS)
    ) as line:
        end_of_run = _RunEnd(line)
        if problems := check(head.versions):
            return _in_trouble("; ".join(problems), line, end_of_run, warn)
        own = interface_address(interface) if interface else route_to(head.membership[0])
        settle(alone=False, token=head.token)
        folder = private_folder(root)
        cluster = os.environ[CLUSTER_VARIABLE] = cluster_id(allocation, folder)
        name = allocation.nodes[allocation.node_id]
        with guarded(cluster, folder), Servers(OF_A_MEMBER, cluster, folder, name) as servers:
            try:
                command = _command(allocation, head, own, folder)
                if (trouble := _join(command, folder, servers, end_of_run, warn)) is not None:
                    return _in_trouble(f"Ray did not start: {trouble}", line, end_of_run, warn)
                line.send(joined=True)
                while not end_of_run.over.wait(CHECK_SECONDS):
                    if servers.death is not None:
                        return _in_trouble(servers.death, line, end_of_run, warn)
                return _end(allocation, end_of_run)
            finally:
                end_all(cluster, known=cluster_processes(cluster))
                shutil.rmtree(folder, ignore_errors=True)


def _join(
    command: Sequence[str],
    folder: Path,
    servers: Servers,
    end_of_run: _RunEnd,
    warn: Callable[[str], None],
) -> str | None:
    """Start Ray here, again where it does not come up; what went wrong the last time if it did not.

    The command ends when all is started.
    """
    trouble = None
    for number in range(1, STARTS + 1):
        if trouble is not None:
            warn(f"Ray did not start; trying again: {trouble}")
        servers.expect()
        trouble = _start(command, folder / f"start-{number}.log", servers, end_of_run)
        if trouble is None or end_of_run.over.is_set():
            return None
        end_all(os.environ[CLUSTER_VARIABLE])
    return trouble


def _start(command: Sequence[str], log: Path, servers: Servers, end_of_run: _RunEnd) -> str | None:
    """Start Ray once; what went wrong if it did not come up before the run was over."""
    with shielded(), log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + JOIN_SECONDS
    try:
        while not end_of_run.over.wait(CHECK_SECONDS):
            if servers.death is not None:
                return servers.death
            if (status := process.poll()) is not None:
                return None if status == 0 else _last_words(log) or f"exit status {status}"
            if time.monotonic() > end:
                return f"it took longer than {JOIN_SECONDS:.0f} s: {_last_words(log)}"
        return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _end(allocation: Allocation, end_of_run: _RunEnd) -> tuple[int, str]:
    if end_of_run.orderly:
        return OVER, "the run is over"
    return HEAD_LOST, f"the first node, {allocation.nodes[0]}, is gone"


def _in_trouble(
    trouble: str, line: Connection, end_of_run: _RunEnd, warn: Callable[[str], None]
) -> tuple[int, str]:
    """Tell the user and the head, and wait for the head's end.

    SLURM may end a whole job of which one task fails: a head that ends in order must not be cut
    short, and says itself how the job went.
    """
    warn(trouble)
    line.send(trouble=trouble)
    end_of_run.over.wait(LAST_SECONDS)
    return (OVER if end_of_run.orderly else TROUBLE), first_line(trouble)


class _RunEnd:
    """Waits for the head to say that the run is over, or for its connection to break."""

    def __init__(self, line: Connection) -> None:
        self.over = threading.Event()
        self.orderly = False
        threading.Thread(target=self._listen, args=(line,), daemon=True).start()

    def _listen(self, line: Connection) -> None:
        message = line.receive()
        self.orderly = message is not None and bool(message.get("over"))
        self.over.set()


def _command(allocation: Allocation, head: Rendezvous, own: str, folder: Path) -> list[str]:
    """How Ray is told to join; the token is in the environment, never here."""
    options = {
        "address": head.ray,
        "node-ip-address": own,
        "num-cpus": allocation.cpus,
        "num-gpus": allocation.gpus or 0,
        "memory": allocation.memory_for_trials,
        "object-store-memory": OBJECT_STORE_BYTES,
        "resources": json.dumps({node_resource(allocation.node_id): 1}),
        # The system chooses: two clusters on one machine never take each other's.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": folder,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", START_MODULE, "start", *flags]


def _last_words(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        return " ".join([line for line in lines if line][-3:])
    return ""


def _not_heeded(number: int, frame: FrameType | None) -> None:
    """A Python handler, unlike SIG_IGN, is not passed on to the processes that are started."""
