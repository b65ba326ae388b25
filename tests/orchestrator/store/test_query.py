"""SQL sees what readers see, cannot change a thing, and says why it fails."""

import csv
import datetime
import io
import json
import stat
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.store import (
    PHASE,
    TABLES,
    QueryError,
    Store,
    compact,
    connect,
    describe,
    query,
    render,
    save,
    write_table,
)
from orchestrator.store import sql as sql_module

MOMENT = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def files(run) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_views_of_an_empty_run_have_all_columns_and_no_rows(run) -> None:
    for view, schema in {**TABLES, "phase": PHASE}.items():
        result = query(run.path, f"SELECT * FROM {view}")
        assert result.num_rows == 0
        assert result.schema.equals(schema)


def test_description_lists_every_column_with_its_type(run) -> None:
    described = describe(run.path)
    assert [name for view, name, _ in described if view == "trials"] == TABLES["trials"].names
    assert ("trials", "steps", "BIGINT") in described
    assert ("phase", "u_shaped", "BOOLEAN") in described
    assert ("attempts", "started_at", "TIMESTAMP WITH TIME ZONE") in described


@pytest.mark.parametrize("compacted", [False, True])
def test_a_query_sees_the_rows_that_a_store_reads(run, compacted) -> None:
    for trial in "abcd":
        run.trial(trial, attempt=1)
    if compacted:
        compact(run.path)
    run.trial("a", attempt=3, name="z", epsilons=(0.1,))
    run.trial("a", attempt=2, name="zz")
    run.trial("b", attempt=2, name="b2")
    store = Store(run.path)
    for table in TABLES:
        found = query(run.path, f"SELECT * FROM {table}").to_pylist()
        expected = store.rows(table)
        assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert query(run.path, "SELECT max(attempt) m FROM trials").to_pylist() == [{"m": 3}]


def test_phase_is_read_from_the_analysis(run) -> None:
    (run.path / "analysis").mkdir()
    rows = [{"column_id": "c", "epsilon": 0.1, "eta_c": 2.0, "n_gd": 3, "u_shaped": True}]
    write_table(run.path / "analysis" / "phase.parquet", rows, PHASE)
    found = query(run.path, "SELECT column_id, eta_c, n_gd, u_shaped FROM phase").to_pylist()
    assert found == [{"column_id": "c", "eta_c": 2.0, "n_gd": 3, "u_shaped": True}]


def test_views_are_named_in_any_case_and_joined(run) -> None:
    run.trial("a")
    sql = 'SELECT count(*) n FROM TRIALS JOIN "trajectories" USING (trial_id)'
    assert query(run.path, sql).to_pylist() == [{"n": 6}]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{run}/x.csv'",
        "COPY (SELECT 1) TO '{run}/trials/a.parquet'",
        "COPY (SELECT 1) TO '{run}/trials/a.parquet' (USE_TMP_FILE false)",
        "ATTACH '{run}/x.db'",
        "ATTACH '{run}/trials/a.parquet'",
        "EXPORT DATABASE '{run}/export'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '{run}/trials/a.parquet'",
        "SELECT * FROM glob('/etc/*')",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET threads = 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "INSERT INTO trials SELECT * FROM trials",
        "DELETE FROM trials",
    ],
)
def test_a_query_cannot_write_or_reach_files_or_unlock_itself(run, sql) -> None:
    run.trial("a")
    before = files(run)
    sql = sql.format(run=run.path)
    with pytest.raises(QueryError):
        query(run.path, sql)
    with connect(run.path) as connection, pytest.raises(Exception, match="Error"):
        connection.execute(sql).fetchall()
    assert files(run) == before


def test_python_variables_are_out_of_reach(run) -> None:
    secret = pa.table({"password": ["1234"]})
    with pytest.raises(QueryError, match="secret"):
        query(run.path, "SELECT * FROM secret")
    assert secret.num_rows == 1


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT stepps FROM trials", "stepps"),
        ("SELECT * FROM trails", "trails"),
        ("SELECT CAST('x' AS INTEGER)", "'x'"),
        ("SELECT error('as the user wished')", "as the user wished"),
    ],
)
def test_bad_sql_is_one_line_with_the_message_of_duckdb(run, sql, message) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        query(run.path, sql)
    assert "\n" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_a_query_goes_on_when_a_compaction_takes_its_files_away(run, monkeypatch) -> None:
    run.trial("a")
    run.trial("b")
    connect_first, moved = sql_module._connect, []

    def compact_after_connecting(*arguments):
        connected = connect_first(*arguments)
        if not moved:
            moved.append(compact(run.path))
        return connected

    monkeypatch.setattr(sql_module, "_connect", compact_after_connecting)
    assert query(run.path, "SELECT count(*) n FROM trials").to_pylist() == [{"n": 4}]
    assert moved[0].merged == 6


def test_queries_see_every_key_once_while_others_write_and_compact(run, start) -> None:
    start(run, "write", 0, 5, 1).wait()
    start(run, "write", 0, 5, 0)
    start(run, "compact")
    sql = """SELECT count(*) AS n, count(DISTINCT (trial_id, epsilon)) AS keys,
                    count(DISTINCT (trial_id, attempt)) AS attempts FROM trials"""
    for _ in range(25):
        assert query(run.path, sql).to_pylist() == [{"n": 10, "keys": 10, "attempts": 5}]


SPILL = "SELECT current_setting('temp_directory') AS folder"


def test_what_outgrows_the_memory_goes_to_a_private_folder_that_is_gone_afterwards(run) -> None:
    with connect(run.path) as connection:
        (found,) = connection.sql(SPILL).fetchall()[0]
        folder = Path(found).parent
        assert folder.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []
    del connection
    assert not folder.exists()
    (row,) = query(run.path, SPILL).to_pylist()
    assert not Path(row["folder"]).parent.exists()


def test_a_query_that_outgrows_the_memory_ends_all_the_same(run, monkeypatch) -> None:
    monkeypatch.setattr(sql_module, "_MEMORY", "24MiB")
    sql = "SELECT count(DISTINCT hash(range)) AS n FROM range(2000000)"
    assert query(run.path, sql).to_pylist() == [{"n": 2000000}]


@pytest.mark.parametrize("sql", ["COPY (SELECT 1) TO '{}'", "SELECT * FROM read_text('{}')"])
def test_the_folder_for_what_outgrows_the_memory_leads_nowhere_else(run, sql) -> None:
    path = run.trial("a")
    with connect(run.path) as connection:
        (folder,) = connection.sql(SPILL).fetchall()[0]
        up = "/".join([".."] * len(Path(folder).parts))
        for way in (f"{folder}/{up}{path}", f"{folder}/../beside", str(path)):
            with pytest.raises(duckdb.PermissionException):
                connection.sql(sql.format(way)).fetchall()


def test_text_has_times_nulls_and_flags_that_other_programs_read(run) -> None:
    run.trial("a", started_at=MOMENT, git_dirty=True)
    columns = "trial_id, epsilon, sharpness, started_at, git_dirty"
    result = query(run.path, f"SELECT {columns} FROM trials ORDER BY epsilon LIMIT 1")
    assert render(result, "csv") == (
        "trial_id,epsilon,sharpness,started_at,git_dirty\na,0.05,,2030-01-02T03:04:05+00:00,true\n"
    )
    assert json.loads(render(result, "json")) == [
        {
            "trial_id": "a",
            "epsilon": 0.05,
            "sharpness": None,
            "started_at": "2030-01-02T03:04:05+00:00",
            "git_dirty": True,
        }
    ]


def test_text_holds_any_result_of_sql(run) -> None:
    sql = """SELECT 1 AS a, 2 AS a, 'x,"y' AS text, [1.0, 'nan'::DOUBLE] AS list,
                    {'k': 1} AS struct, 'inf'::DOUBLE AS much, 1.50::DECIMAL(4, 2) AS exact"""
    result = query(run.path, sql)
    header, row = csv.reader(io.StringIO(render(result, "csv")))
    assert header == ["a", "a_1", "text", "list", "struct", "much", "exact"]
    assert row == ["1", "2", 'x,"y', "[1.0, null]", '{"k": 1}', "inf", "1.50"]
    (found,) = json.loads(render(result, "json"))
    assert found["list"] == [1.0, None]
    assert found["much"] is None
    assert render(query(run.path, "SELECT 1 AS a LIMIT 0"), "json") == "[]\n"
    assert render(query(run.path, "SELECT 1 AS a LIMIT 0"), "csv") == "a\n"


def test_a_result_is_saved_as_it_is(run, tmp_path) -> None:
    result = query(run.path, "SELECT 1 AS a, 'inf'::DOUBLE AS much, [1, 2] AS list")
    save(result, tmp_path / "result.parquet")
    assert pq.read_table(tmp_path / "result.parquet").to_pylist() == result.to_pylist()
