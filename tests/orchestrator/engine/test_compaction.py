"""A run keeps its files few: it compacts once many have come, and leaves alone what is few."""

from __future__ import annotations

import dataclasses

import pytest
from support.waiting import until_gone

from orchestrator.engine.compaction import BackgroundCompaction
from orchestrator.ledger import Ledger
from orchestrator.store import Store, compact, count_parts
from orchestrator.sweep import Resources

FEW = 4


@pytest.fixture
def filled(bench):
    """A run directory with as many files of trials as are enough."""
    bench.settle_flow(seconds=1.0)
    for trial in bench.trials()[: FEW - 1]:
        bench.carry_out(bench.work([trial]))
    assert count_parts(bench.path, "trials") == FEW
    return bench


def after(column, *numbers):
    return [
        dataclasses.replace(column, resources=Resources(compact_after=number)) for number in numbers
    ]


def test_enough_files_are_merged_and_no_row_changes(filled, column):
    before, state = filled.science(), Ledger(filled.path).read([column])
    compacting = BackgroundCompaction(filled.path, after(column, None, FEW, 100))
    compacting.start_when_due()
    until_gone(lambda: sum(count_parts(filled.path, t) for t in ("trials", "attempts")))
    compacting.close()
    assert filled.science() == before
    assert Ledger(filled.path).read([column]).total == state.total
    assert all(path.name.startswith("compacted-") for path in Store(filled.path).parts("trials"))


@pytest.mark.parametrize("number", [FEW + 1, None])
def test_with_fewer_files_or_switched_off_nothing_is_compacted(filled, column, number):
    compacting = BackgroundCompaction(filled.path, after(column, number))
    compacting.start_when_due()
    assert compacting.process is None
    compacting.close()
    assert count_parts(filled.path, "trials") == FEW


def test_what_could_not_be_merged_is_not_tried_again_at_every_check(filled, column, monkeypatch):
    """As a damaged file, or files that another process is merging."""
    monkeypatch.setattr("orchestrator.engine.compaction.CHECK_SECONDS", 0.0)
    compacting = BackgroundCompaction(filled.path, after(column, FEW))
    with compaction_elsewhere(filled.path):
        compacting.start_when_due()
        first = compacting.process
        assert first.wait(60) == 0
        compacting.start_when_due()
        assert compacting.process is None
    assert count_parts(filled.path, "trials") == FEW
    compact(filled.path)
    compacting.close()


def compaction_elsewhere(run):
    from orchestrator.store.compaction import _lock

    return _lock(run / "claims" / "compact.lock")
