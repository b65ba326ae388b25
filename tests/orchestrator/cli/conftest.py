"""A run directory made without Ray, by the code that workers run, and the command in-process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.computed import computed
from typer.testing import CliRunner

from orchestrator import sweep as sweeps
from orchestrator.cli.app import app
from orchestrator.cli.errors import exit_status, sentence
from orchestrator.engine import prepare
from orchestrator.engine.commit import FinishedTrial, commit
from orchestrator.engine.work import Assignment, Provenance
from orchestrator.plan import RunState

TEXT = """
name: small
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, loss: mse}
eta: {values: [0.5, 1.0, 1.5]}
stop: {epsilon: [0.4, 0.3], max_steps: 2000}
measure: {trajectory_every: 50}
"""


class Answer:
    """What a command printed, and its exit status."""

    def __init__(self, out: str, status: int, error: str) -> None:
        self.out, self.status, self.error = out, status, error


@pytest.fixture
def eos() -> Callable[..., Answer]:
    def call(*arguments: object) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is None or isinstance(result.exception, SystemExit):
            return Answer(result.output, result.exit_code, "")
        return Answer(result.output, exit_status(result.exception), sentence(result.exception))

    return call


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def half_done(compute: Callable[..., Path], tmp_path: Path, config: Path) -> Path:
    """A run directory with the flow and one of three GD trials in it."""
    return compute(tmp_path / "run", config, trials=2)


@pytest.fixture(scope="session")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Puts the first trials of each column of a sweep file into a new run directory."""
    computed: dict[tuple[bytes, int], Path] = {}

    def copied(run: Path, config: Path, *, trials: int) -> Path:
        key = config.read_bytes(), trials
        if key not in computed:
            computed[key] = _compute(tmp_path_factory.mktemp("computed") / "run", config, trials)
        shutil.copytree(computed[key], run, dirs_exist_ok=True)
        return run

    return copied


def _compute(run: Path, config: Path, trials: int) -> Path:
    sweep = prepare(run, sweeps.load(config))
    origin = Provenance.here(sweep.name)
    state = RunState.of(sweep.columns)
    for column in sweep.columns:
        for _ in range(trials):
            now = state.column(column.column_id)
            trial, plan = now.ready[0], now.plan
            its = computed(trial)
            asked = plan.asked_rate(trial)
            assignment = Assignment(trial, column.column_id, 1, plan.flow, asked=asked)
            seconds = its.ended - its.began
            finished = FinishedTrial(
                assignment, its.result, "cpu", 1, its.began, its.ended, seconds
            )
            state = state.settled(commit(run, [finished], origin))
    return run
