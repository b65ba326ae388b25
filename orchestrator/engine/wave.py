"""One Tune experiment over a feed: at most so many Tune trials, then a fresh one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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

from orchestrator.cluster import Cluster
from orchestrator.engine.actor import TrialActor
from orchestrator.engine.feed import Feed
from orchestrator.engine.searcher import FeedSearcher
from orchestrator.engine.sinks import LiveLog
from orchestrator.engine.work import Work


class _Errors(Callback):
    """Passes on why a Tune trial died, before its end is booked."""

    def __init__(self, searcher: FeedSearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = trial.get_pickled_error()
        if error is not None:
            self._searcher.errors[trial.trial_id] = error


class _Live(Callback):
    """Passes on what trials have recorded to those who log it."""

    def __init__(self, log: LiveLog) -> None:
        self._log = log

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._log.take(trial.config["work"], result["report"])

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as of the searcher: threads and queues cannot be pickled."""
        return {}


def run_wave(
    feed: Feed,
    cluster: Cluster,
    ended: Callable[[], bool],
    changed: Callable[[], None],
    most_trials: int,
    log: LiveLog | None = None,
) -> None:
    """Run works of the feed on the cluster until none is left, or so many were handed out.

    What trials record goes to ``log``.
    """
    feed.use(cluster.nodes)
    feed.memory_per_cpu = cluster.memory_per_cpu
    searcher = FeedSearcher(feed, ended, changed)
    tuner = Tuner(
        tune.with_resources(TrialActor, _resources),
        tune_config=TuneConfig(
            search_alg=searcher,
            num_samples=most_trials,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
            trial_name_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=RunConfig(
            name="wave",
            storage_path=str(cluster.folder / "tune"),
            failure_config=FailureConfig(max_failures=0),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Errors(searcher), *([] if log is None else [_Live(log)])],
            verbose=0,
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner.fit()


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
