"""A run directory with a settled flow and two GD trials, computed here."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.computed import computed

from orchestrator import sweep as sweeps
from orchestrator.analysis import analyze
from orchestrator.engine import prepare
from orchestrator.engine.commit import FinishedTrial, commit
from orchestrator.engine.work import Assignment, Provenance
from orchestrator.plan import RunState
from orchestrator.sweep import Sweep

TEXT = """
name: small
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, loss: mse}
eta: {values: [0.5, 1.5]}
stop: {epsilon: [0.4, 0.3], max_steps: 2000}
"""


class Writer:
    """Computes the trials of a sweep one by one and commits them, as a worker does."""

    def __init__(self, run: Path, sweep: Sweep) -> None:
        self.run = run
        prepare(run, sweep)
        self._state = RunState.of(sweep.columns)
        self._provenance = Provenance.here(sweep.name)

    def settle_next(self) -> str:
        """Commit one trial more; returns its name."""
        (its,) = self._state
        trial, plan = its.ready[0], its.plan
        assignment = Assignment(trial, its.column_id, 1, plan.flow, asked=plan.asked_rate(trial))
        finished = FinishedTrial(assignment, computed(trial).result, "cpu", 1, 1.0, 2.0, 1.0)
        self._state = self._state.settled(commit(self.run, [finished], self._provenance))
        return trial.trial_id


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path / "run", sweeps.parse(TEXT))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done and analysed; tests must not change it."""
    writer = Writer(tmp_path_factory.mktemp("reading") / "small", sweeps.parse(TEXT))
    for _ in range(3):
        writer.settle_next()
    analyze(writer.run)
    return writer.run
