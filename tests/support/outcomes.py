"""SettledTrials of trials as the tables would say them."""

from __future__ import annotations

import numpy as np

from jobs.spec import Trial
from orchestrator.plan import FlowSummary, SettledTrials, Threshold, as_number


def outcome(
    trial: Trial,
    status: str = "reached",
    *,
    sharpness: float | None = 50.0,
    time: float = 10.0,
    gradients: int = 400,
    hvps: int = 100,
    wall_s: float = 5.0,
    init_sharpness: float | None = None,
    attempt: int = 1,
    finished_at: int = 1,
    column_id: str | None = None,
    test_loss: float = 0.5,
) -> SettledTrials:
    """A trial that ended so at all of its thresholds."""
    name = as_number(trial.trial_id)
    thresholds = [Threshold(e, status, time, sharpness) for e in trial.protocol.epsilons]
    summary = FlowSummary.of(
        thresholds, gradients=gradients, hvps=hvps, wall_s=wall_s, init_sharpness=init_sharpness
    )
    eta = np.nan if trial.learning_rate is None else trial.learning_rate
    return SettledTrials(
        trial=np.array([name], dtype=np.uint64),
        column=np.array([as_number(column_id or trial.column_id)], dtype=np.uint64),
        is_flow=np.array([trial.kind == "flow"]),
        eta=np.array([eta]),
        attempt=np.array([attempt]),
        diverged=np.array([status == "diverged"]),
        no_start=np.array([status == "no_start"]),
        reached=np.array([status == "reached"]),
        sharpness=np.array([np.nan if sharpness is None else sharpness]),
        test_loss=np.array([test_loss]),
        seconds=np.array([wall_s]),
        finished_at=np.array([finished_at]),
        digested=np.array([True]),
        flows={name: summary} if trial.kind == "flow" else {},
    )
