"""Ray for one run, over all machines that it has: private to it, and gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.cluster.allocation import Allocation
from orchestrator.cluster.member import node_resource
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.processes import (
    CLUSTER_VARIABLE,
    OF_A_HEAD,
    Servers,
    cluster_id,
    cluster_processes,
    end_all,
    ended_after,
    guarded,
    handlers_kept,
)
from orchestrator.cluster.ray_private import (
    GCS_PATIENCE,
    GCS_SECONDS,
    OBJECT_STORE_BYTES,
    STARTS,
    print_messages,
    settle,
)
from orchestrator.cluster.ray_thread import GivenUpError, RayThread
from orchestrator.cluster.rendezvous import (
    Rendezvous,
    announce,
    meeting_place,
    own_address,
    private_folder,
)
from orchestrator.first_line import first_line

START_SECONDS = 600.0
"""How long the other nodes may take to join: a busy file server takes minutes over the imports."""

LEAVE_SECONDS = 10.0
"""How long the other nodes may take to end their processes."""

FAIL_SECONDS = 2.0
"""How long a start of Ray may take to fail after one of its servers has died."""

END_SECONDS = 10.0
"""How long Ray's client may take to end."""

Answer = TypeVar("Answer")


class ClusterError(RuntimeError):
    """A cluster that did not come up whole."""


class StartAbandonedError(Exception):
    """The run was told to end while its cluster was starting."""


@dataclass(frozen=True)
class Node:
    """A machine of a started cluster: Ray's name for it, and what it lends."""

    node_id: str
    cpus: int
    gpus: int
    memory: int


@dataclass(frozen=True)
class Cluster:
    """What a started cluster offers.

    ``folder`` is on this machine; Ray and Tune may write to it. All calls of Ray's go through
    ``ray``; ``check_servers`` checks at once whether a server has died, which is done every now
    and then anyway.
    """

    nodes: tuple[Node, ...]
    folder: Path
    ray: RayThread
    check_servers: Callable[[], object]

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    @property
    def memory_per_cpu(self) -> int:
        """Bytes of memory for each CPU, where they are fewest."""
        return min(node.memory // node.cpus for node in self.nodes)


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

    A fresh token keeps other users out; Ray's default places in the home directory and in the
    temporary directory are not touched, and no process but those of this cluster.

    Args:
        allocation: what the run has; this process must be on its first node.
        run: the run directory, where the other nodes look for this one.
        root: where temporary folders belong, on a local disk; the system's place unless given.
        interface: the network interface that the nodes use among themselves.
        versions: what must be the same on every node, as it is here.
        quiet: whether Ray's own messages are kept from the user.
        abandoned: whether to give up waiting for the other nodes.
        on_loss: told of a node, or a server of Ray, that is lost later.
        warn: told of starts that had to be repeated.

    Raises:
        ClusterError: Ray did not start, or a node did not join; the message names it and says why.
        StartAbandonedError: ``abandoned`` said so.
    """
    alone = len(allocation.nodes) == 1
    address = own_address(allocation, interface)
    token = settle(alone=alone)
    folder = private_folder(root)
    cluster = os.environ[CLUSTER_VARIABLE] = cluster_id(allocation, folder)
    others = tuple(range(1, len(allocation.nodes)))

    def lost(node_id: int, trouble: str) -> None:
        on_loss(f"node {allocation.nodes[node_id]} was lost: {trouble}")

    membership = None if alone else Membership(address, token, others, lost)
    meeting = meeting_place(run, allocation)
    name = allocation.nodes[allocation.node_id]
    up = threading.Event()

    def died(what: str) -> None:
        if up.is_set():  # a start that fails says so itself
            on_loss(what)

    ray = None
    with guarded(cluster, folder), Servers(OF_A_HEAD, cluster, folder, name, died) as servers:
        try:
            ray = _start_ray(allocation, address, folder, servers, quiet, warn)
            up.set()
            if servers.death is not None:
                on_loss(servers.death)
            if membership is not None:
                ray_address = _ask(ray, _gcs_address, abandoned)
                announce(
                    meeting, Rendezvous(ray_address, membership.address, token, versions or {})
                )
                _await_nodes(ray, allocation, membership, abandoned)
            yield Cluster(_nodes(_ask(ray, _listed, abandoned)), folder, ray, servers.check)
        finally:
            up.clear()
            if membership is not None:
                meeting.unlink(missing_ok=True)
                for node_id in sorted(membership.end(LEAVE_SECONDS)):
                    warn(f"node {allocation.nodes[node_id]} did not end its processes in time")
            if servers.death is not None:
                # Ray's client would wait for what is gone: its thread is left to the process's end.
                end_all(cluster, known=cluster_processes(cluster))
            elif ray is not None:
                _stop_ray(ray, cluster)
            os.environ.pop(CLUSTER_VARIABLE, None)
            shutil.rmtree(folder, ignore_errors=True)


def _start_ray(
    allocation: Allocation,
    address: str,
    folder: Path,
    servers: Servers,
    quiet: bool,
    warn: Callable[[str], None],
) -> RayThread:
    """The thread that talks to a Ray that has started."""
    # Ray reads its settings when it is imported: not before settle().
    import ray

    print_messages(not quiet)
    for number in range(1, STARTS + 1):
        os.environ[GCS_PATIENCE] = str(GCS_SECONDS[number - 1])
        servers.expect()
        thread = RayThread()
        try:
            with handlers_kept():
                thread.call(
                    ray.init,
                    given_up=_after(FAIL_SECONDS, lambda: servers.death is not None),
                    num_cpus=allocation.cpus,
                    num_gpus=allocation.gpus,
                    _memory=allocation.memory_for_trials,
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    log_to_driver=not quiet,
                    logging_level=logging.CRITICAL if quiet else logging.INFO,
                    configure_logging=True,
                    _node_ip_address=address,
                    _temp_dir=str(folder),
                )
        except Exception as error:
            servers.check()
            why = servers.death or first_line(error)
            _stop_ray(thread, os.environ[CLUSTER_VARIABLE])
            if number == STARTS:
                node = allocation.nodes[allocation.node_id]
                raise ClusterError(f"Ray did not start on node {node}: {why}") from error
            warn(f"Ray did not start; trying again: {why}")
        else:
            break
    return thread


def _stop_ray(thread: RayThread, cluster: str) -> None:
    """End Ray's client, if its thread does not hang, and every process of the cluster."""
    import ray

    known = cluster_processes(cluster)
    if thread.settle(FAIL_SECONDS):
        with handlers_kept(), ended_after(cluster, 0.5), contextlib.suppress(GivenUpError):
            thread.call(ray.shutdown, given_up=_after(END_SECONDS, lambda: True))
    end_all(cluster, known=known)
    thread.close()


def _after(seconds: float, true: Callable[[], bool]) -> Callable[[], bool]:
    """Whether ``seconds`` have passed since something was first seen to be true."""
    since: float | None = None

    def passed() -> bool:
        nonlocal since
        if since is None and true():
            since = time.monotonic()
        return since is not None and time.monotonic() - since >= seconds

    return passed


def _ask(
    thread: RayThread, function: Callable[[], Answer], abandoned: Callable[[], bool]
) -> Answer:
    try:
        return thread.call(function, given_up=abandoned)
    except GivenUpError:
        raise StartAbandonedError from None


def _await_nodes(
    thread: RayThread, allocation: Allocation, membership: Membership, abandoned: Callable[[], bool]
) -> None:
    """Wait until every node has joined Ray with all that it was granted."""
    end = time.monotonic() + START_SECONDS
    expected = set(range(1, len(allocation.nodes)))
    while True:
        for node_id, trouble in membership.troubles.items():
            raise ClusterError(f"node {allocation.nodes[node_id]} did not join: {trouble}")
        missing = expected - (_living(_ask(thread, _listed, abandoned)) & membership.joined)
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
        membership.wait(0.2)


def _gcs_address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _listed() -> list[Mapping[str, Any]]:
    """The nodes that Ray knows; dead ones too."""
    import ray

    nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _living(listed: Sequence[Mapping[str, Any]]) -> set[int]:
    """The numbers of the other nodes that Ray sees alive."""
    alive = [node["Resources"] for node in listed if node["Alive"]]
    prefix = node_resource(0)[:-1]
    names = {name for resources in alive for name in resources if name.startswith(prefix)}
    return {int(name[len(prefix) :]) for name in names}


def _nodes(listed: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """What the nodes lend that Ray sees alive."""
    return tuple(
        Node(
            node_id=str(node["NodeID"]),
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
            memory=int(node["Resources"]["memory"]),
        )
        for node in listed
        if node["Alive"]
    )
