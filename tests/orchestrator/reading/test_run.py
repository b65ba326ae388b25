"""A run in Python: Arrow, pandas and DuckDB over the rows that count, while others write."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from orchestrator import Run, open_run
from orchestrator.reading import TABLES, NotARunError, UnknownTableError
from orchestrator.store import ANALYSIS, QueryError, Store, compact, create, write_part
from orchestrator.store import TABLES as WRITTEN


def addresses(column: pa.ChunkedArray) -> list[int]:
    """Where the numbers of a column lie in memory."""
    return [chunk.buffers()[-1].address for chunk in column.chunks]


def test_importing_the_package_imports_no_tables() -> None:
    code = (
        "import sys, orchestrator; assert not {'pyarrow', 'duckdb', 'pandas'} & set(sys.modules);"
        "assert 'open_run' in dir(orchestrator); orchestrator.open_run"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_the_columns_of_its_schema(small: Path, table: str) -> None:
    with open_run(small) as run:
        rows = run.arrow(table)
        assert rows.schema.equals(run.schema(table))
        assert rows.schema.equals({**WRITTEN, **ANALYSIS}[table])
        assert len(rows) == run.sql(f"SELECT * FROM {table}").count("*").fetchall()[0][0]


def test_rows_are_those_of_the_store(small: Path) -> None:
    run = open_run(str(small))
    assert run.arrow("trials").to_pylist() == Store(small).rows("trials")
    assert len(run.arrow("phase")) == 2
    assert run.arrow("trials").num_rows == 2 * 3


def test_rows_have_the_multiple_of_eta_c_that_the_sweep_file_asks_for(small: Path) -> None:
    asked = {
        (row["kind"], row["eta_unit"], row["eta_multiple"]) for row in Store(small).rows("trials")
    }
    assert asked == {("flow", None, None), ("gd", "eta_c", 0.5), ("gd", "eta_c", 1.5)}


def test_columns_come_in_the_order_asked_for_and_a_filter_chooses_rows(small: Path) -> None:
    run = open_run(small)
    rows = run.arrow("trials", ["steps", "eta"], filter="kind = 'gd' AND epsilon = 0.3")
    assert rows.column_names == ["steps", "eta"]
    assert [str(type_) for type_ in rows.schema.types] == ["int64", "double"]
    wanted = [
        {"steps": row["steps"], "eta": row["eta"]}
        for row in Store(small).rows("trials")
        if row["kind"] == "gd" and row["epsilon"] == 0.3
    ]
    key = lambda row: row["eta"]  # noqa: E731
    assert sorted(rows.to_pylist(), key=key) == sorted(wanted, key=key)
    assert len(run.pandas("trials", filter="kind = 'flow' -- the reference")) == 2


def test_pandas_has_the_very_memory_of_arrow(small: Path, monkeypatch: Any) -> None:
    run = open_run(small)
    rows = run.arrow("trajectories")
    monkeypatch.setattr(run, "arrow", lambda *_: rows)
    frame = run.pandas("trajectories")
    for name in rows.column_names:
        assert isinstance(frame[name].dtype, pd.ArrowDtype)
        shared = pa.chunked_array(frame[name].array.__arrow_array__())
        assert addresses(shared) == addresses(rows[name])


def test_whole_numbers_stay_whole_beside_null(small: Path) -> None:
    frame = open_run(small).pandas("trials")
    assert frame["base_width"].isna().all()
    assert frame["base_width"].dtype == pd.ArrowDtype(pa.int64())
    assert str(frame["started_at"].dtype) == "timestamp[us, tz=UTC][pyarrow]"


def test_a_relation_goes_on_after_others_were_made(small: Path) -> None:
    with open_run(small) as run:
        gd = run.sql("SELECT eta, sharpness FROM trials WHERE kind = 'gd' AND epsilon = 0.3")
        assert run.sql("SELECT 1 AS one").fetchall() == [(1,)]
        largest = gd.order("eta DESC").limit(1).project("eta * sharpness / 2 AS edge")
        ((edge,),) = largest.fetchall()
        assert edge == pytest.approx(1, abs=0.3)  # above η_c, S stays near 2/η


def test_a_connection_has_a_view_of_each_table_and_reaches_nothing_else(small: Path) -> None:
    with open_run(small) as run:
        connection = run.duckdb()
        for table in TABLES:
            assert (
                connection.sql(f"SELECT * FROM {table} LIMIT 0").columns == run.schema(table).names
            )
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.sql(f"SELECT * FROM read_csv('{small / 'sweep.yaml'}')")


def test_closing_ends_relations_and_the_run_says_so(small: Path) -> None:
    with open_run(small) as run:
        relation = run.sql("SELECT eta FROM trials")
    with pytest.raises(duckdb.Error):
        relation.fetchall()
    for use in (lambda: run.arrow("trials"), lambda: run.sql("SELECT 1"), run.duckdb):
        with pytest.raises(ValueError, match="is closed; open_run opens it again"):
            use()
    run.close()


@pytest.mark.parametrize("place", ["nowhere", ".", "trials/x.parquet"])
def test_what_is_no_run_directory_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(NotARunError, match="it must be a run directory, which eos run makes"):
        open_run(tmp_path / place)


def test_errors_name_what_was_asked_for_and_what_is_near(small: Path) -> None:
    run = open_run(small)
    with pytest.raises(UnknownTableError, match=r"table is 'trails'.*did you mean 'trials'\?"):
        run.arrow("trails")
    with pytest.raises(UnknownTableError, match="table is 'qqq'; it must be one of trials, "):
        run.pandas("qqq")
    with pytest.raises(ValueError, match=r"column of trials is 'etaa'.*did you mean 'eta'\?"):
        run.arrow("trials", ["etaa"])
    with pytest.raises(
        ValueError, match=r"columns is 'eta'; it must be a list of names, \['eta'\]"
    ):
        run.arrow("trials", "eta")
    with pytest.raises(QueryError, match=r"filter is 'etaa > 1'; .*etaa"):
        run.arrow("trials", filter="etaa > 1")
    with pytest.raises(QueryError, match="nothing_here"):
        run.sql("SELECT * FROM nothing_here")


def test_each_call_sees_what_was_committed_by_then(writer: Any) -> None:
    run = open_run(writer.run)
    assert len(run.arrow("trials")) == 0
    seen = []
    for number in (1, 2, 3):
        seen.append(writer.settle_next())
        frame = run.pandas("trials", ["trial_id"])
        assert sorted(set(frame["trial_id"])) == sorted(seen)
        assert run.sql("SELECT count(DISTINCT trial_id) FROM trials").fetchall() == [(number,)]
    before = run.sql("SELECT * FROM trials")
    compact(writer.run)
    assert len(before.fetchall()) == len(run.arrow("trials")) == 6


def test_readers_beside_a_writer_and_a_compaction_see_whole_trials_only(tmp_path: Path) -> None:
    path, trials, steps = tmp_path / "run", 60, 5
    create(path)
    written = threading.Event()

    def write() -> None:
        """Commit trials in the order of workers, some a second time, and compact now and then."""
        for number in range(trials):
            for attempt in (1, 2) if number % 7 == 0 else (1,):
                key = {"trial_id": f"t{number:03d}", "column_id": "c", "attempt": attempt}
                name = f"{key['trial_id']}-{attempt}"
                recorded = [{**key, "step": step} for step in range(steps)]
                write_part(path, "trajectories", name, recorded)
                rows = [{**key, "epsilon": epsilon} for epsilon in (0.2, 0.1)]
                write_part(path, "trials", name, rows)
            if number % 10 == 9:
                compact(path)
        written.set()

    joined = """SELECT count(*) AS n, count(DISTINCT trial_id) AS trials
                FROM trials JOIN trajectories USING (trial_id, attempt)"""
    thread = threading.Thread(target=write)
    run: Run = open_run(path)
    counts = [0]
    thread.start()
    while counts[-1] < trials:
        over = written.is_set()
        frame = run.arrow("trials", ["trial_id", "epsilon"]).to_pandas()
        found = frame.groupby("trial_id").size()
        assert set(found) <= {2}
        ((rows, count),) = run.sql(joined).fetchall()
        assert count >= len(found) >= counts[-1]
        assert rows == count * 2 * steps
        counts.append(len(found))
        if over:
            break
    thread.join()
    assert counts[-1] == trials
    assert run.unreadable == []


def test_many_results_take_no_more_threads_than_one(small: Path) -> None:
    with open_run(small) as run:
        relations = [run.sql(f"SELECT {number} AS one") for number in range(2)]
        threads = len(list(Path("/proc/self/task").iterdir()))
        relations += [run.sql(f"SELECT {number} AS one") for number in range(2, 20)]
        assert len(list(Path("/proc/self/task").iterdir())) == threads
        assert [one.fetchall() for one in relations] == [[(number,)] for number in range(20)]


def test_a_connection_without_references_is_closed(small: Path) -> None:
    with open_run(small) as run:
        connection = run.duckdb()
        held = weakref.ref(connection)
        relation = connection.sql("SELECT count(*) FROM trials")
        del connection
        assert relation.fetchall() == [(6,)]
        del relation
        gc.collect()
        assert held() is None


@pytest.mark.parametrize("columns", [[], ["eta", "eta"]])
@pytest.mark.parametrize("filter", [None, "true"])
def test_no_column_and_one_twice_are_refused(
    small: Path, columns: list[str], filter: str | None
) -> None:
    with pytest.raises(ValueError, match="it must be names, each once, or None"):
        open_run(small).arrow("trials", columns, filter)
