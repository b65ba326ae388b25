"""Readers see each key once, from one attempt, and go around what is damaged."""

import contextlib
import itertools
import os
import random
import socket

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store import TRIALS, Store, StoreError, compact, query, set_aside
from orchestrator.store import parts as parts_module
from orchestrator.store import selection as selection_module
from orchestrator.store.parts import VanishedError
from orchestrator.store.schema import ADDED, TRAJECTORIES
from orchestrator.store.selection import list_parts, newest_rows
from orchestrator.store.write import to_table


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip_a_page(path) -> None:
    """Damage a value, not the footer: only the checksum of its page tells."""
    content = bytearray(path.read_bytes())
    content[content.index(b"the-value-to-damage")] ^= 0xFF
    path.write_bytes(content)


def test_an_empty_run_has_empty_tables_with_all_columns(run) -> None:
    assert Store(run.path).table("trials").schema.equals(TRIALS)
    assert Store(run.path).rows("attempts") == []
    assert Store(run.path).settled() == set()


def test_a_missing_run_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Store(tmp_path / "nowhere")


def test_some_columns_and_a_column_that_is_not_there(run) -> None:
    run.trial("a")
    assert Store(run.path).table("trials", ["steps"]).to_pylist() == [{"steps": 1}] * 2
    with pytest.raises(ValueError, match="column of trials is 'stepps'"):
        Store(run.path).table("trials", ["stepps"])


def test_the_newest_attempt_counts_and_attempts_never_mix(run) -> None:
    run.trial("a", attempt=1, name="z", epsilons=(0.1, 0.05, 0.02))
    run.trial("a", attempt=2, name="y", epsilons=(0.1,))
    run.trial("b", attempt=1)
    store = Store(run.path)
    found = {(row["trial_id"], row["attempt"], row["epsilon"]) for row in store.rows("trials")}
    assert found == {("a", 2, 0.1), ("b", 1, 0.1), ("b", 1, 0.05)}
    assert {row["attempt"] for row in store.rows("trajectories") if row["trial_id"] == "a"} == {2}
    assert len(store.rows("attempts")) == 3
    assert store.settled() == {"a", "b"}


def test_of_equal_attempts_the_last_file_counts_and_parts_count_before_compacted_ones(run) -> None:
    run.trial("a", name="x", sharpness=1.0)
    run.trial("a", name="y", sharpness=2.0)
    assert {row["sharpness"] for row in Store(run.path).rows("trials")} == {2.0}
    run.trial("b", sharpness=2.0)
    compact(run.path)
    run.trial("a", name="a", sharpness=3.0)
    found = {(row["trial_id"], row["sharpness"]) for row in Store(run.path).rows("trials")}
    assert found == {("a", 3.0), ("b", 2.0)}


ROW = st.tuples(st.sampled_from("abcd"), st.integers(0, 3))


@given(st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_newest_rows_agree_with_a_plain_loop(files, by_attempt) -> None:
    rows = [(file, *row) for file, content in enumerate(files) for row in content]
    best: dict[object, tuple[int, int]] = {}
    for file, trial, attempt in rows:
        key = (trial, attempt) if by_attempt else trial
        best[key] = max(best.get(key, (-1, -1)), (attempt, file))
    expected = [
        best[(trial, attempt) if by_attempt else trial] == (attempt, file)
        for file, trial, attempt in rows
    ]
    table = pa.table(
        {
            "trial_id": pa.array([row[1] for row in rows], pa.string()),
            "attempt": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    key = ("trial_id", "attempt") if by_attempt else ("trial_id",)
    assert newest_rows(table, [len(content) for content in files], key).tolist() == expected


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_page,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not parquet at all"),
        lambda path: pq.write_table(pa.table({"trial_id": ["a"]}), path),
    ],
    ids=["truncated", "flipped", "empty", "foreign", "schema"],
)
def test_a_damaged_part_is_skipped_reported_set_aside_and_can_be_written_again(run, damage) -> None:
    run.trial("a")
    path = run.trial("b", status="the-value-to-damage")
    damage(path)
    store = Store(run.path)
    assert {row["trial_id"] for row in store.rows("trials")} == {"a"}
    assert [found for found, _ in store.unreadable] == [path]
    assert query(
        run.path, "SELECT DISTINCT trial_id, max(status) m FROM trials GROUP BY 1"
    ).to_pylist() == [{"trial_id": "a", "m": None}]

    assert [found for found, _ in Store(run.path).check_parts()] == [path]
    assert path.exists()
    Store(run.path, warn=print).check_parts()
    assert Store(run.path).settled() == {"a"}
    assert [found.name for found in store.damaged()] == [".b.parquet.damaged"]
    assert Store(run.path, warn=print).check_parts() == []

    run.trial("b")
    assert {row["trial_id"] for row in store.rows("trials")} == {"a", "b"}


def test_a_part_older_than_a_column_has_null_in_it_wherever_it_is_read(run) -> None:
    path = run.trial("old", eta=0.5)
    pq.write_table(
        pq.read_table(path).drop_columns(sorted(ADDED["trials"])), path, store_schema=False
    )
    run.trial("new", eta=1.0, eta_unit="eta_c", eta_multiple=2.0)
    asked = "SELECT DISTINCT trial_id, eta, eta_unit, eta_multiple FROM trials ORDER BY 1 DESC"
    expected = [
        {"trial_id": "old", "eta": 0.5, "eta_unit": None, "eta_multiple": None},
        {"trial_id": "new", "eta": 1.0, "eta_unit": "eta_c", "eta_multiple": 2.0},
    ]
    for _ in range(2):  # as parts, and as one compacted file
        store = Store(run.path)
        assert store.check_parts() == []
        assert store.table("trials").schema.equals(TRIALS)
        columns = ["eta_multiple", "trial_id"]
        found = {tuple(row.values()) for row in store.table("trials", columns).to_pylist()}
        assert found == {(None, "old"), (2.0, "new")}
        assert query(run.path, asked).to_pylist() == expected
        compact(run.path)
    assert pq.read_schema(list_parts(run.path / "trials").live[0]).equals(TRIALS)


def _make_socket(path) -> None:
    """By a name relative to its folder: that of a socket is short."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


NO_FILES = {
    "nothing": (lambda path: path.symlink_to("nowhere"), "it is a link to nothing"),
    "itself": (lambda path: path.symlink_to(path.name), "it is a link to nothing"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "pipe": (os.mkfifo, "it is a named pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "socket": (_make_socket, "it is a socket"),
}


@pytest.mark.timeout(60)  # who opens a pipe waits until somebody writes to it
@pytest.mark.parametrize("where", NO_FILES)
@pytest.mark.parametrize("name", ["odd.parquet", "compacted-odd.parquet"])
def test_what_is_no_file_is_left_out_by_name(run, where, name, caplog) -> None:
    make, reason = NO_FILES[where]
    run.trial("a")
    for table in ("trials", "trajectories", "attempts"):
        make(run.path / table / name)
    store = Store(run.path)
    assert {row["trial_id"] for row in store.rows("trials")} == {"a"}
    columns = ["trial_id", "attempt"]
    news = store.news("attempts", columns, {}, lambda rows: rows.column("trial_id").to_pylist())
    assert news.parts == [["a"]]
    assert not store.news("attempts", columns, news.files, len).afresh
    assert query(run.path, "SELECT count(*) AS n FROM trajectories").to_pylist() == [{"n": 3}]
    compact(run.path)
    assert Store(run.path).settled() == {"a"}
    said = [record.getMessage() for record in caplog.records if "is left out" in record.message]
    assert sorted(said) == [
        f"{run.path / table / name} is left out: {reason}"
        for table in ("attempts", "trajectories", "trials")
    ]


def test_a_wrong_column_is_named(run) -> None:
    path = run.path / "trials" / "a.parquet"
    fields = [f.with_type(pa.int32()) if f.name == "steps" else f for f in TRIALS]
    pq.write_table(pa.schema(fields).empty_table(), path)
    ((_, reason),) = Store(run.path).check_parts()
    assert reason == "its column steps is a int32, not a int64"


def test_a_damaged_file_that_was_replaced_meanwhile_is_not_set_aside(run, monkeypatch) -> None:
    path = run.trial("a")
    truncate(path)
    check = parts_module.check_part

    def replace_after_check(part, schema) -> None:
        try:
            check(part, schema)
        finally:
            if part == path:
                run.trial("a")

    monkeypatch.setattr("orchestrator.store.read.check_part", replace_after_check)
    Store(run.path, warn=print).check_parts()
    assert Store(run.path).settled() == {"a"}
    assert Store(run.path).damaged() == []


def test_a_refusal_of_the_system_is_not_taken_for_damage(run, monkeypatch) -> None:
    run.trial("a")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("orchestrator.store.parts.pq.ParquetFile", refuse)
    with pytest.raises(StoreError, match=r"a\.parquet could not be read: Permission denied"):
        Store(run.path, warn=print).check_parts()


def test_a_listing_that_misses_what_a_compaction_moved_is_repeated(run, monkeypatch) -> None:
    """The torn view of a folder: the new file not yet, the old parts no more."""
    run.trial("a")
    run.trial("b")
    names = selection_module._names
    torn = iter([set()])

    def tear(folder):
        if folder.name == "trials" and (view := next(torn, None)) is not None:
            compact(run.path)
            return view
        return names(folder)

    monkeypatch.setattr(selection_module, "_names", tear)
    run_trials = list_parts(run.path / "trials").live
    assert [path.name[:10] for path in run_trials] == ["compacted-"]


def test_a_file_that_vanishes_after_listing_is_looked_for_again(run, monkeypatch) -> None:
    run.trial("a")
    run.trial("b")
    read = parts_module.read_part
    moved = iter([True])

    def compact_first(path, schema, columns):
        if next(moved, False):
            compact(run.path)
        return read(path, schema, columns)

    monkeypatch.setattr("orchestrator.store.read.read_part", compact_first)
    assert Store(run.path).table("trials").num_rows == 4


def test_files_that_vanish_for_ever_end_in_an_error(run) -> None:
    def vanish() -> None:
        raise VanishedError

    with pytest.raises(StoreError, match="vanish faster"):
        Store(run.path).fresh(vanish)


def test_very_many_parts_are_each_opened_once(run, monkeypatch) -> None:
    count_of_parts = 1100  # more than the 1,024 files that a process may often have open
    for number in range(count_of_parts):
        row = {"trial_id": f"{number:016x}", "attempt": 1, "step": number}
        path = run.path / "trajectories" / f"{number:016x}.parquet"
        pq.write_table(to_table([row], TRAJECTORIES), path)
    opened = itertools.count()
    file = parts_module.pq.ParquetFile

    def count(*arguments, **options):
        next(opened)
        return file(*arguments, **options)

    monkeypatch.setattr(parts_module.pq, "ParquetFile", count)
    steps = Store(run.path).table("trajectories", ["step"]).column("step").to_numpy()
    assert np.array_equal(np.sort(steps), np.arange(count_of_parts))
    assert next(opened) == count_of_parts


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: pd.read_parquet(folder)["trial_id"].tolist(),
        lambda folder: ds.dataset(folder).to_table()["trial_id"].to_pylist(),
        lambda folder: pl.read_parquet(folder / "*.parquet")["trial_id"].to_list(),
        lambda folder: [
            trial
            for (trial,) in duckdb.sql(f"SELECT trial_id FROM '{folder}/*.parquet'").fetchall()
        ],
    ],
    ids=["pandas", "pyarrow", "polars", "duckdb"],
)
@pytest.mark.parametrize("compacted", [False, True])
def test_a_table_is_read_without_our_help(run, read, compacted) -> None:
    trials = [f"{random.Random(number).getrandbits(64):016x}" for number in range(5)]
    for trial in trials:
        run.trial(trial)
    if compacted:
        compact(run.path)
        run.trial("one-more")
        trials.append("one-more")
    folder = run.path / "trials"
    (folder / ".x.parquet.host.1.tmp").write_bytes(b"half a file")
    (folder / "x.parquet").write_bytes(b"half a file")
    set_aside(folder / "x.parquet", "no footer")
    assert sorted(read(folder)) == sorted(trials * 2)
