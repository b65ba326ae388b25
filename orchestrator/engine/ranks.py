"""The ranks that compute one trial together; rank 0 is the worker, which leads the others."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from jobs.kept_states import Keep
from jobs.ongoing import OngoingTrial
from jobs.process_group import LOOPBACK, ProcessGroup, RankError, open_store
from orchestrator.engine.failures import node_blamed
from orchestrator.engine.work import Assignment
from orchestrator.store.starts import read_start
from orchestrator.sweep import Resources
from orchestrator.sweep.user_files import find_files

PATIENCE_SECONDS = 120.0
"""How long a rank waits for the others in a collective, before the attempt fails."""

START_SECONDS = 300.0
"""How long the processes of the other ranks may take to start."""

REASON_SECONDS = 10.0
"""How long the leader waits for the other ranks to say why they failed."""


@dataclass(frozen=True)
class GroupAddress:
    """How a rank joins the others.

    ``store`` and ``port`` are where the leader's store listens, ``address`` is where this rank is
    to listen; the ``secret`` is the group's; ``patience`` are seconds to wait in a collective.
    """

    store: str
    port: int
    address: str
    secret: bytes = field(repr=False)
    patience: float


class OtherRanks:
    """The other ranks as rank 0 sees them; they live in the bundles of its own placement group.

    They start with the first trial, stay for the next ones, and end with the placement group.

    Args:
        run: the run directory.
        resources: what each rank occupies.
        memory: bytes that each rank may use; None for what its device offers.
        patience: seconds that a rank waits for the others in a collective.

    Raises:
        RankError: a rank did not start.
    """

    def __init__(
        self,
        run: Path,
        resources: Resources,
        memory: int | None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        size = resources.workers
        leader = ray.get_runtime_context().current_actor
        self._patience = patience
        self._others = [_start(rank, run, resources, leader) for rank in range(1, size)]
        hosts = [_own_address(), *_wait([o.address.remote() for o in self._others], START_SECONDS)]
        # Between processes of one machine, nothing need be heard outside of it.
        addresses = [LOOPBACK] * size if len(set(hosts)) == 1 else hosts
        secret = secrets.token_bytes(32)  # travels in Ray's calls, which strangers cannot join
        store = open_store(addresses[0])
        joined = [
            other.join.remote(
                GroupAddress(addresses[0], store.port, addresses[rank], secret, patience),
                rank,
                resources,
                memory,
            )
            for rank, other in enumerate(self._others, 1)
        ]
        self.group = ProcessGroup(
            store, 0, size, address=addresses[0], secret=secret, timeout=patience
        )
        _wait(joined, patience)
        self._computing: list[Any] = []

    def begin(self, assignment: Assignment, checkpoint: bytes | None) -> None:
        """Let the other ranks resume a trial, from a checkpoint's content if there is one."""
        self._computing = [other.compute.remote(assignment, checkpoint) for other in self._others]

    def end(self) -> None:
        """Wait for the other ranks to have ended the trial too."""
        _wait(self._computing, self._patience)

    def cause(self, error: Exception) -> Exception:
        """Why a trial failed that failed here with this error: the other ranks may know better."""
        ready, waiting = ray.wait(
            self._computing, num_returns=len(self._computing), timeout=REASON_SECONDS
        )
        reasons = [
            (rank, _reason(ref)) for rank, ref in enumerate(self._computing, 1) if ref in ready
        ]
        for rank, reason in reasons:
            if isinstance(reason, RayActorError):
                return RankError(f"the process of rank {rank} died: {reason}")
            if reason is not None and not isinstance(reason, RankError):
                return reason
        if waiting and isinstance(error, RankError):
            silent = [rank for rank, ref in enumerate(self._computing, 1) if ref in waiting]
            return RankError(f"rank {', '.join(map(str, silent))} does not answer: {error}")
        return error


@ray.remote
class Rank:
    """A rank that is not the leader: it runs the same trials as the leader does, in step with it.

    Args:
        run: the run directory.
        leader: the actor of rank 0, which is ended when it does not answer.
    """

    def __init__(self, run: Path, leader: Any) -> None:
        self._run, self._leader = run, leader
        self._failed = threading.Event()

    def address(self) -> str:
        """The address of this rank's machine in the cluster."""
        return _own_address()

    def join(
        self, group: GroupAddress, rank: int, resources: Resources, memory: int | None
    ) -> None:
        """Become a rank of the process group that the leader's store stands for."""
        self._device = resources.device
        self._threads, self._memory = resources.cpus_per_worker, memory
        self._keep = Keep.of(resources.keep)
        self._patience = group.patience
        self._ranks = ProcessGroup(
            TCPStore(group.store, group.port, is_master=False),
            rank,
            resources.workers,
            address=group.address,
            secret=group.secret,
            timeout=group.patience,
        )
        # Started now: where memory has run out, no thread can be.
        threading.Thread(target=self._watch, daemon=True).start()

    def compute(self, assignment: Assignment, checkpoint: bytes | None) -> None:
        """Run a trial to the end that all ranks agree on; the leader keeps its results."""
        try:
            find_files(self._run, [assignment.trial.problem])
            with node_blamed(self._device):
                self._compute(assignment, checkpoint)
        except Exception:
            self._failed.set()
            self._ranks.leave()  # those who wait for this rank need not wait any longer
            raise

    def _compute(self, assignment: Assignment, checkpoint: bytes | None) -> None:
        trial = assignment.trial
        run = OngoingTrial(
            trial,
            device=self._device,
            threads=self._threads,
            ranks=self._ranks,
            memory=self._memory,
            keep=self._keep,
            starts=assignment.starts,
            start=None if trial.start is None else read_start(self._run, trial.start),
        )
        if checkpoint is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "checkpoint"
                path.write_bytes(checkpoint)
                run.restore(path)
        run.advance()

    def _watch(self) -> None:
        """End a leader that hangs. One that works ends when this rank fails, and this rank too."""
        self._failed.wait()
        time.sleep(self._patience)
        ray.kill(self._leader)


def _start(rank: int, run: Path, resources: Resources, leader: Any) -> Any:
    group = get_current_placement_group()
    assert group is not None
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
    return Rank.options(  # type: ignore[attr-defined]
        num_cpus=resources.cpus_per_worker,
        num_gpus=resources.gpus_per_worker or 0,
        scheduling_strategy=strategy,
    ).remote(run, leader)


def _own_address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _wait(refs: list[Any], seconds: float) -> list[Any]:
    """What other ranks return, once they have done it."""
    try:
        return ray.get(refs, timeout=seconds)
    except GetTimeoutError as error:
        raise RankError(f"another rank did not answer within {seconds:.0f} s") from error
    except RayActorError as error:
        raise RankError(f"the process of another rank died: {error}") from error


def _reason(ref: Any) -> Exception | None:
    """The exception with which a rank's work ended."""
    try:
        ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        return cause if isinstance(cause, Exception) else error
    except RayActorError as error:
        return error
    return None
