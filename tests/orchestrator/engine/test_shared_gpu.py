"""A trial that shares a GPU uses its fraction of the card's memory."""

from __future__ import annotations

import pytest

from orchestrator.engine import attempt
from orchestrator.engine.attempt import AttemptInProgress
from orchestrator.sweep import Resources


@pytest.mark.parametrize(("share", "expected"), [(0.25, 20), (1, None), (0, None)])
def test_the_memory_of_a_trial_is_its_share_of_a_gpu(bench, monkeypatch, share, expected) -> None:
    monkeypatch.setattr(attempt, "default_budget", {"cuda": 80}.__getitem__)
    work = bench.work(bench.trials()[:1], resources=Resources(gpus_per_worker=share))
    assert AttemptInProgress(work, work.assignments[0])._memory == expected
