"""A run takes in additions to its sweep, and announces its end before it reads the sweep last."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import sweep as sweeps
from orchestrator.cluster import Allocation
from orchestrator.engine import GrowingSweep, RunEnvironment, RunOutcome, execute, prepare
from orchestrator.ledger import Leases
from orchestrator.sweep import Column, EtaGrid, Resources, Sweep, SweepError

TEXT = """
name: s
problem: {dataset: digits, n_train: 40, width: 8, depth: 1, loss: mse, seed: SEED}
eta: {values: [1]}
stop: {epsilon: 0.3}
resources: {cpus_per_worker: CPUS}
"""
TWO_CPUS = Allocation(("n1",), 0, 2, 0, None)


def asked(seed: int, cpus: int = 1) -> Sweep:
    return sweeps.parse(TEXT.replace("SEED", str(seed)).replace("CPUS", str(cpus)))


def seeds(columns: Sequence[Column] | None) -> list[int] | None:
    return None if columns is None else [column.problem.seed for column in columns]


def test_the_sweep_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    told: list[str] = []
    growing = GrowingSweep(tmp_path / "run", TWO_CPUS, told.append)
    prepare(tmp_path / "run", asked(0))
    assert seeds(growing.read()) == [0]
    assert growing.read() is None
    prepare(tmp_path / "run", asked(1))
    assert seeds(growing.read()) == [0, 1]
    prepare(tmp_path / "run", asked(2, cpus=4))
    assert seeds(growing.read()) == [0, 1]
    assert len(told) == 1
    assert "1 columns are left to other jobs: resources.cpus_per_worker is 4" in told[0]
    assert growing.reasons == tuple(told)


def test_a_sweep_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    growing = GrowingSweep(tmp_path / "run", TWO_CPUS, told.append)
    prepare(tmp_path / "run", asked(0))
    growing.read()
    (tmp_path / "run" / "sweep.yaml").write_text("name: [")
    assert growing.read() is None
    assert "cannot be used" in told[0]


class _Course:
    """A run of a settled column, whose sweep has grown when it is read for the n-th time.

    The column that is new then is held by another run, so that this one has to end idle.
    """

    def __init__(self, bench: Any, column: Column) -> None:
        self.events: list[str] = []
        self._run = bench.path
        self._column = dataclasses.replace(
            column, etas=(EtaGrid(unit="absolute", multiples=(0.3,)),), resources=Resources()
        )
        self._new = dataclasses.replace(
            self._column, problem=dataclasses.replace(column.problem, seed=7)
        )
        self._other = Leases(bench.path)
        self._other.acquire(self._new.column_id)
        bench.settle_flow(seconds=1.0)
        bench.carry_out(bench.work([self._column.at(0.3)]))

    def run(self, *, grown_at: int | None) -> RunOutcome:
        looks = 0

        def look() -> Sequence[Column] | None:
            nonlocal looks
            looks += 1
            self.events.append("look")
            return [self._column, self._new] if looks == grown_at else None

        try:
            return execute(
                self._run, "batches", [self._column], grown=look, warn=print,
                observe=lambda snapshot: None,
                environment=RunEnvironment(
                    idle_seconds=0.0,
                    leave=lambda: self.events.append("leave"),
                    stay=lambda: self.events.append("stay"),
                ),
            )  # fmt: skip
        finally:
            self._other.release_all()


def test_a_run_announces_its_end_and_reads_the_sweep_once_more(bench: Any, column: Column) -> None:
    course = _Course(bench, column)
    outcome = course.run(grown_at=None)
    assert (outcome.settled, outcome.stop) == (True, None)
    assert course.events == ["look", "leave", "look"]


def test_a_run_whose_sweep_has_grown_at_the_last_reading_stays(bench: Any, column: Column) -> None:
    course = _Course(bench, column)
    outcome = course.run(grown_at=2)
    assert outcome.stop is not None
    assert (outcome.settled, outcome.stop.reason) == (False, "idle")
    assert outcome.snapshot.columns.total == 2
    assert course.events == ["look", "leave", "look", "stay", "leave", "look"]


def test_two_that_add_to_a_sweep_at_once_both_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.engine import sweep_file as module

    run, keep, others = tmp_path / "run", module.keep_files, list[threading.Thread]()
    prepare(run, asked(0))

    def meanwhile(path: Path, sweep: Sweep) -> None:
        """Between the reading and the writing of one, the other begins."""
        if not others:
            others.append(threading.Thread(target=prepare, args=(run, asked(2))))
            others[0].start()
            others[0].join(0.5)
        keep(path, sweep)

    monkeypatch.setattr(module, "keep_files", meanwhile)
    prepare(run, asked(1))
    others[0].join(60)
    found = sweeps.load(run / "sweep.yaml")
    assert sorted(column.problem.seed for column in found.columns) == [0, 1, 2]


def test_a_sweep_of_another_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    prepare(tmp_path / "run", asked(0))
    before = sorted((tmp_path / "run").rglob("*"))
    with pytest.raises(SweepError, match="belongs to sweep 's'"):
        prepare(tmp_path / "run", dataclasses.replace(asked(1), name="other"))
    assert sorted((tmp_path / "run").rglob("*")) == before
