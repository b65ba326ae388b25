"""An actor at work in this process: packs change no number, and a fault hits one trial only."""

from __future__ import annotations

import dataclasses

import pytest

from jobs.pack import DescentPack
from orchestrator.ledger import read_marks


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the packs that are put together."""
    seen, make = [], DescentPack.__init__

    def note(self, runs):
        seen.append(len(runs))
        make(self, runs)

    monkeypatch.setattr(DescentPack, "__init__", note)
    return seen


@pytest.fixture
def one_by_one(make_bench):
    """The tables of the same trials, each as a work of its own."""
    bench = make_bench("one-by-one")
    for trial in bench.trials():
        bench.carry_out(bench.work([trial]))
    return bench.science()


def test_a_pack_writes_the_tables_of_its_trials_one_by_one(bench, one_by_one, sizes):
    sizes.clear()
    report = bench.carry_out(bench.work(bench.trials()))
    names = [trial.trial_id for trial in bench.trials()]
    assert sizes == [len(names)]
    assert sorted(settled.trial_id for settled in report.settled) == sorted(names)
    assert (report.failed, report.running, report.halt) == ((), (), None)
    assert bench.science() == one_by_one
    assert bench.attempts() == sorted((name, 1, "settled") for name in names)
    assert list(read_marks(bench.path)) == []
    assert {row["status"] for row in bench.science()["trials"]} == {"reached", "diverged"}


def test_places_that_become_free_are_filled(bench, one_by_one, sizes):
    sizes.clear()
    work = bench.work(bench.trials())
    work = dataclasses.replace(
        work,
        assignments=tuple(dataclasses.replace(a, pack_size=3) for a in work.assignments),
    )
    bench.carry_out(work)
    assert max(sizes) == 3
    assert len(sizes) > 3
    assert bench.science() == one_by_one
