"""One Ray Tune experiment over a work queue: its Tune trials carry out works, one after another."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune import (
    Callback,
    CheckpointConfig,
    FailureConfig,
    PlacementGroupFactory,
    RunConfig,
    TuneConfig,
    Tuner,
)
from ray.tune.search import Searcher

from orchestrator.cluster import Cluster
from orchestrator.engine.capacity import UnfitNodeError
from orchestrator.engine.live_log import LiveLog
from orchestrator.engine.work import Work
from orchestrator.engine.work_queue import WorkQueue
from orchestrator.engine.worker import Worker

MOST_TRIALS = 1_000
"""Tune trials in one experiment: its state and its bookkeeping grow with their number."""

PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""The variable in which Tune finds how many of its trials may wait for their workers at once."""

DIED = RuntimeError("its worker process died")


def run_experiment(
    queue: WorkQueue,
    cluster: Cluster,
    ended: Callable[[], bool],
    changed: Callable[[], None],
    log: LiveLog,
) -> None:
    """Carry out works of the queue on the cluster until none is left, or MOST_TRIALS have ended.

    What trials record goes to ``log``; for the other arguments see :class:`WorkSearcher`.
    """
    queue.use(cluster.nodes)
    queue.memory_per_cpu = cluster.memory_per_cpu
    searcher = WorkSearcher(queue, ended, changed)
    tuner = Tuner(
        tune.with_resources(Worker, _resources),
        tune_config=TuneConfig(
            search_alg=searcher,
            num_samples=MOST_TRIALS,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(cluster.folder / "tune"),
            failure_config=FailureConfig(max_failures=0),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Events(searcher, log)],
            verbose=0,
        ),
    )
    with warnings.catch_warnings(), _pending(queue.slots):
        warnings.simplefilter("ignore")
        tuner.fit()


@contextmanager
def _pending(most: int) -> Iterator[None]:
    """Let Tune start so many workers at once: by default it does so one after another."""
    before = os.environ.get(PENDING)
    os.environ[PENDING] = str(most)
    try:
        yield
    finally:
        if before is None:
            del os.environ[PENDING]
        else:
            os.environ[PENDING] = before


def _resources(config: dict[str, Any]) -> PlacementGroupFactory:
    """What a work occupies: a bundle for each of its processes, on as few nodes as possible."""
    work: Work = config["work"]
    needed = work.resources
    bundle: dict[str, int | float] = {"CPU": needed.cpus_per_worker}
    if needed.gpus_per_worker:
        bundle["GPU"] = needed.gpus_per_worker
    bundles = [bundle] * needed.workers
    if not work.avoided:
        return PlacementGroupFactory(bundles, strategy="PACK")
    elsewhere = {"ray.io/node-id": f"!in({','.join(work.avoided)})"}
    return PlacementGroupFactory(
        bundles, strategy="PACK", bundle_label_selector=[elsewhere] * needed.workers
    )


class WorkSearcher(Searcher):
    """Suggests works of a queue until it has none left and none is running.

    ``errors`` has what Tune knows of Tune trials whose process died, by their id; ``ended`` says
    that no new work is to be handed out; ``changed`` is called after every event. A queue that is
    closed ends the experiment.
    """

    def __init__(
        self, queue: WorkQueue, ended: Callable[[], bool], changed: Callable[[], None]
    ) -> None:
        super().__init__()
        self._queue, self._ended, self._changed = queue, ended, changed
        self._works: dict[str, Work] = {}
        self.errors: dict[str, BaseException] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next work; None while others must end first; FINISHED when all is handed out."""
        with self._queue.open():
            work = None if self._ended() else self._queue.next_work()
            if work is None:
                return None if self._works else Searcher.FINISHED
            self._works[trial_id] = work
            self._changed()
            return {"work": work}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in a report from a worker that continues."""
        with self._queue.open():
            self._queue.take_report(self._works[trial_id], result["report"])
            self._changed()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take in the last report of a work, or that its process died."""
        with self._queue.open():
            work = self._works.pop(trial_id)
            if not error and result is not None:
                self._queue.take_report(work, result["report"])
            reason = self.errors.pop(trial_id, DIED) if error else None
            cause = getattr(reason, "cause", reason)  # Ray wraps what an actor raised
            if isinstance(cause, UnfitNodeError):
                self._queue.avoid(cause)
            self._queue.take_end(work, None if reason is None else str(reason))
            self._changed()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a pickle of its settings, of which this is one, and never reads it.

        A queue has references, such as a live display, that cannot be pickled.
        """
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> WorkSearcher:
        return self

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the tables are the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Events(Callback):
    """Passes on why a Tune trial died before its end is taken in, and what trials record."""

    def __init__(self, searcher: WorkSearcher, log: LiveLog) -> None:
        self._searcher, self._log = searcher, log

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error()
        if error is not None:
            self._searcher.errors[trial.trial_id] = error

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._log.take(trial.config["work"], result["report"])

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as of the searcher: threads and queues cannot be pickled."""
        return {}
