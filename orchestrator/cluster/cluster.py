"""Ray for one run, over all machines that it has: private to it, and gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.address import own_address
from orchestrator.cluster.allocation import Allocation
from orchestrator.cluster.folder import private_folder
from orchestrator.cluster.member import node_resource
from orchestrator.cluster.processes import (
    MARK,
    end_all,
    ended_after,
    guarded,
    handlers_kept,
    mark_of,
    watched,
)
from orchestrator.cluster.rendezvous import Rendezvous, announce, meeting_place
from orchestrator.cluster.roll import Roll
from orchestrator.cluster.settings import MEMORY_SHARE, OBJECT_STORE_BYTES, settle

START_SECONDS = 600.0
"""How long the other nodes may take to join: a busy file server takes minutes over the imports."""

LEAVE_SECONDS = 10.0
"""How long the other nodes may take to end their processes."""

STARTS = 3
"""How often Ray is started anew where it does not come up, as when somebody took its port."""


class ClusterError(RuntimeError):
    """A cluster that did not come up whole."""


class StartAbandonedError(Exception):
    """The run was told to end while its cluster was starting."""


@dataclass(frozen=True)
class Cluster:
    """What a started cluster offers; bytes of memory for each CPU where they are fewest.

    ``folder`` is on this machine; Ray and Tune may write to it.
    """

    cpus: int
    gpus: int
    memory_per_cpu: int
    folder: Path


@contextlib.contextmanager
def start(
    allocation: Allocation,
    run: Path,
    *,
    root: Path | None = None,
    interface: str | None = None,
    versions: Mapping[str, str] | None = None,
    quiet: bool = True,
    abandoned: Callable[[], bool] = lambda: False,
    on_loss: Callable[[str], None] = lambda trouble: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Iterator[Cluster]:
    """Start Ray on this machine, wait for those of the other nodes, and end it all afterwards.

    A fresh token keeps other users out; Ray's usual places in the home directory and in the
    temporary directory are not touched, and no process but those of this cluster.

    Args:
        allocation: what the run has; this process must be on its first node.
        run: the run directory, where the other nodes look for this one.
        root: where temporary folders belong, on a local disk; the system's place unless given.
        interface: the network interface that the nodes use among themselves.
        versions: what must be the same on every node, as it is here.
        quiet: whether Ray's own messages are kept from the user.
        abandoned: whether to give up waiting for the other nodes.
        on_loss: told of a node that is lost later.
        warn: told of starts that had to be repeated.

    Raises:
        ClusterError: a node did not join; the message names it and says why.
        StartAbandonedError: ``abandoned`` said so.
    """
    alone = len(allocation.nodes) == 1
    address = own_address(allocation, interface)
    token = settle(alone=alone)
    folder = private_folder(root)
    mark = os.environ[MARK] = mark_of(allocation, folder)
    others = tuple(range(1, len(allocation.nodes)))
    roll = None if alone else Roll(address, token, others, on_loss)
    meeting = meeting_place(run, allocation)
    with guarded(mark, folder):
        try:
            ray = _start_ray(allocation, address, folder, quiet, warn)
            if roll is not None:
                ray_address = str(ray.get_runtime_context().gcs_address)
                announce(meeting, Rendezvous(ray_address, roll.address, token, versions or {}))
                _await_nodes(ray, allocation, roll, abandoned)
            with watched(mark, on_loss):
                yield _offer(ray, folder)
        finally:
            if roll is not None:
                meeting.unlink(missing_ok=True)
                for node_id in sorted(roll.end(LEAVE_SECONDS)):
                    warn(f"node {allocation.nodes[node_id]} did not end its processes in time")
            _stop_ray(mark)
            os.environ.pop(MARK, None)
            shutil.rmtree(folder, ignore_errors=True)


def _start_ray(
    allocation: Allocation,
    address: str,
    folder: Path,
    quiet: bool,
    warn: Callable[[str], None],
) -> Any:
    # Ray reads its settings when it is imported: not before settle().
    import ray

    # Ray prints deaths of workers on stdout, where our data goes, and has no setting for it.
    ray._private.worker._worker_logs_enabled = not quiet
    from jobs.memory import machine_memory  # with torch, which only a run needs

    memory = min(allocation.memory or machine_memory(), machine_memory())
    for number in range(1, STARTS + 1):
        try:
            with handlers_kept():
                ray.init(
                    num_cpus=allocation.cpus,
                    num_gpus=allocation.gpus,
                    _memory=int(MEMORY_SHARE * memory),
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    log_to_driver=not quiet,
                    logging_level=logging.CRITICAL if quiet else logging.INFO,
                    configure_logging=True,
                    _node_ip_address=address,
                    _temp_dir=str(folder),
                )
        except Exception as error:
            _stop_ray(os.environ[MARK])
            if number == STARTS:
                raise ClusterError(
                    f"Ray did not start on node {allocation.nodes[allocation.node_id]}: {error}"
                ) from error
            warn(f"Ray did not start ({_first_line(error)}); trying again")
        else:
            break
    return ray


def _stop_ray(mark: str) -> None:
    import ray

    with handlers_kept(), ended_after(mark, 0.5):
        ray.shutdown()
    end_all(mark)


def _await_nodes(
    ray: Any, allocation: Allocation, roll: Roll, abandoned: Callable[[], bool]
) -> None:
    """Wait until every node has joined Ray with all that it was granted."""
    end = time.monotonic() + START_SECONDS
    expected = set(range(1, len(allocation.nodes)))
    while True:
        for node_id, trouble in roll.troubles.items():
            raise ClusterError(f"node {allocation.nodes[node_id]} did not join: {trouble}")
        missing = expected - (_living(ray) & roll.joined)
        if not missing:
            return
        if abandoned():
            raise StartAbandonedError
        if time.monotonic() > end:
            names = ", ".join(allocation.nodes[node_id] for node_id in sorted(missing))
            raise ClusterError(
                f"{len(missing)} of {len(allocation.nodes)} nodes did not join within "
                f"{START_SECONDS:.0f} s: {names}; their logs say why"
            )
        roll.wait(0.2)


def _living(ray: Any) -> set[int]:
    """The numbers of the other nodes that Ray sees alive; it lists dead ones too."""
    alive: list[Mapping[str, Any]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    prefix = node_resource(0)[:-1]
    names = {name for resources in alive for name in resources if name.startswith(prefix)}
    return {int(name[len(prefix) :]) for name in names}


def _offer(ray: Any, folder: Path) -> Cluster:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Cluster(
        cpus=sum(int(node.get("CPU", 0)) for node in nodes),
        gpus=sum(int(node.get("GPU", 0)) for node in nodes),
        memory_per_cpu=min(int(node["memory"] / node["CPU"]) for node in nodes),
        folder=folder,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
