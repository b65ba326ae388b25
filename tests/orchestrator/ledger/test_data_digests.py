"""Under one name the trials of a run directory read the same data, or none is computed."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from jobs.spec import Problem
from orchestrator.engine import prepare
from orchestrator.ledger import Ledger
from orchestrator.ledger.data_digests import (
    OtherDataError,
    data_key,
    read_data_digests,
    refuse_mixed_data,
    refuse_other_data,
)
from orchestrator.store import create, write_part
from orchestrator.sweep import SweepError, parse

PROBLEM = Problem(dataset="digits", n_train=60)
TEXT = "{name: d, problem: {dataset: digits, n_train: 60}, eta: {values: [1]}, stop: {epsilon: 1}}"
SWEEP = parse(TEXT)


def _add(run: Path, name: str, digest: str | None, *, hour: int = 0, **problem: object) -> None:
    """A settled trial that read data of this digest."""
    named = {**vars(PROBLEM), **problem, "trial_id": name, "hostname": f"node-{name}"}
    moment = datetime.datetime(2026, 1, 2, hour, tzinfo=datetime.UTC)
    row = {**named, "attempt": 1, "epsilon": 0.3, "finished_at": moment, "data_digest": digest}
    write_part(run, "trials", f"part-{name}", [row])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    create(tmp_path / "run")
    return tmp_path / "run"


def test_what_was_read_is_told_by_the_rows(run: Path) -> None:
    assert read_data_digests(run) == read_data_digests(run / "not-there") == {}
    _add(run, "b", "0b", hour=2)
    _add(run, "a", "0b", hour=1)
    _add(run, "c", "0c", n_train=70)
    _add(run, "d", None)  # by a version that noted none
    found = read_data_digests(run)
    first, other = found[data_key(PROBLEM)], found["digits", 70, "first", "scalar"]
    assert [(read.digest, read.origin) for read in first] == [
        ("0b", "trial a on node-a, 2026-01-02 01:00")
    ]
    assert [read.digest for read in other] == ["0c"]


def test_a_run_that_works_has_them_from_its_ledger_with_those_that_come_later(run: Path) -> None:
    _add(run, "b", "0b", hour=2)
    ledger = Ledger(run, warn=print)
    state = ledger.read(SWEEP.columns)
    assert ledger.data_digests == read_data_digests(run)
    _add(run, "a", "0a", hour=1)
    ledger.catch_up(state)
    assert ledger.data_digests == read_data_digests(run)
    assert [read.digest for read in ledger.data_digests[data_key(PROBLEM)]] == ["0a", "0b"]
    assert ledger.read(SWEEP.columns).total == Ledger(run).read(SWEEP.columns).total
    assert ledger.data_digests == read_data_digests(run)


def test_a_trial_reads_what_earlier_ones_read(run: Path) -> None:
    _add(run, "a", "0a")
    read = {data: reads[0] for data, reads in read_data_digests(run).items()}
    refuse_other_data(PROBLEM, "0a", read)
    refuse_other_data(Problem(dataset="digits", n_train=61), "0b", read)
    with pytest.raises(OtherDataError) as refused:
        refuse_other_data(PROBLEM, "0b", read)
    assert str(refused.value).startswith(
        "dataset digits (n_train 60, subset first, normalization scalar) has the digest 0b here; "
        "it must be 0a, which trial a on node-a, 2026-01-02 00:00, read under this name"
    )


def test_nothing_begins_where_two_digests_have_one_name(run: Path) -> None:
    _add(run, "a", "0a", hour=1)
    prepare(run, SWEEP)
    _add(run, "b", "0b", hour=2)
    with pytest.raises(SweepError) as refused:
        prepare(run, SWEEP)
    assert str(refused.value) == (
        f"run directory {run} has trials that read different data as digits (n_train 60, subset "
        "first, normalization scalar): digest 0a (trial a on node-a, 2026-01-02 01:00) and 0b "
        "(trial b on node-b, 2026-01-02 02:00); each must have a run directory of its own "
        "(--run-dir)"
    )
    refuse_mixed_data(run, parse(TEXT, ["problem.n_train=61"]).columns, read_data_digests(run))
