"""A real run directory with the settled flow of one small column, and works for an worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.computed import computed

from jobs import Trial
from orchestrator import sweep
from orchestrator.engine.capacity import batch_size
from orchestrator.engine.commit import FinishedTrial, commit
from orchestrator.engine.work import Assignment, Provenance, Report, Work, checkpoint_path
from orchestrator.engine.worker import Worker
from orchestrator.plan import newest
from orchestrator.store import PROVENANCE, Store, create
from orchestrator.sweep import Column, Resources

RATES = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 4.0)
"""Learning rates of the column, of which the last diverges."""

TEXT = f"""
name: batches
problem: {{dataset: digits, n_train: 40, width: 8, depth: 1, activation: tanh, loss: mse}}
eta: {{unit: absolute, values: {list(RATES)}, stop_after_divergences: null}}
stop: {{epsilon: [0.3, 0.2], max_steps: 600}}
measure:
  trajectory_every: 20
  also: [trace, norms, distance_from_flow]
  midpoint: true
  probes: 3
"""

PROVENANCE_OF_TESTS = Provenance("batches", "0", None, None, None, None)


@pytest.fixture(scope="session")
def column() -> Column:
    (column,) = sweep.parse(TEXT).columns
    return column


class Bench:
    """A run directory, and an worker in this process that works for it."""

    def __init__(self, path: Path, column: Column) -> None:
        self.path, self.column = path, column
        self.provenance = PROVENANCE_OF_TESTS
        self.stop_file = path / "claims" / "stop"
        create(path)

    def trials(self) -> list[Trial]:
        """The GD trials, the longest first."""
        return [self.column.at(rate) for rate in RATES]

    def settle_flow(self, seconds: float) -> None:
        """Compute the flow and commit it, as if it had taken so long."""
        flow = Assignment(self.column.flow(), self.column.column_id, 1, None)
        its = computed(flow.trial)
        finished = FinishedTrial(flow, its.result, "cpu", 1, its.began, its.ended, seconds)
        commit(self.path, [finished], PROVENANCE_OF_TESTS)

    def work(
        self,
        trials: Sequence[Trial],
        attempt: int = 1,
        resources: Resources | None = None,
        report_seconds: float = 1000.0,
    ) -> Work:
        resources = resources or Resources()
        return Work(
            run=self.path,
            assignments=tuple(
                Assignment(
                    trial,
                    self.column.column_id,
                    attempt,
                    None,
                    batch_size(trial, resources, None),
                )
                for trial in trials
            ),
            resources=resources,
            provenance=PROVENANCE_OF_TESTS,
            stop_file=self.stop_file,
            hold_file=self.stop_file.with_name("hold"),
            report_seconds=report_seconds,
            memory=None,
        )

    def carry_out(self, work: Work) -> Report:
        """Let an worker go on until it says that it is done; all that it reported, as one."""
        worker = Worker({"work": work})
        reports = []
        while True:
            result = worker.step()
            reports.append(result["report"])
            if result["done"]:
                return Report(
                    settled=newest([report.settled for report in reports]),
                    failed=tuple(f for report in reports for f in report.failed),
                    running=reports[-1].running,
                    halt=reports[-1].halt,
                    warnings=tuple(w for report in reports for w in report.warnings),
                )

    def checkpoint(self, trial: Trial) -> Path:
        return checkpoint_path(self.path, trial)

    def science(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of these tables without provenance, in a fixed order."""
        return {
            table: sorted(
                (
                    {key: value for key, value in row.items() if key not in PROVENANCE}
                    for row in Store(self.path).rows(table)
                ),
                key=lambda row: (
                    row["trial_id"],
                    -row.get("epsilon", 0),
                    row.get("step", 0),
                    *(str(row.get(name)) for name in ("point", "measure", "layer", "rank")),
                ),
            )
            for table in ("trials", "trajectories", "measures")
        }

    def attempts(self) -> list[tuple[str, int, str]]:
        rows = Store(self.path).rows("attempts")
        return sorted((row["trial_id"], row["attempt"], row["outcome"]) for row in rows)


@pytest.fixture
def make_bench(tmp_path: Path, column: Column) -> Callable[[str], Bench]:
    return lambda name: Bench(tmp_path / name, column)


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    return make_bench("run")


@pytest.fixture(scope="session")
def one_by_one(
    tmp_path_factory: pytest.TempPathFactory, column: Column
) -> dict[str, list[dict[str, Any]]]:
    """The tables of the GD trials, each computed as a work of its own."""
    bench = Bench(tmp_path_factory.mktemp("one-by-one") / "run", column)
    for trial in bench.trials():
        bench.carry_out(bench.work([trial]))
    return bench.science()
