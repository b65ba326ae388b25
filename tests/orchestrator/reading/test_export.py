"""Exported files hold what the tables hold, and no file is replaced or half written."""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator import open_run
from orchestrator.reading import TABLES, ExportError, Format, check_export, export
from orchestrator.store import Store, compact, create, write_part
from orchestrator.store import read as store_read
from orchestrator.store.schema import ANALYSIS
from orchestrator.store.schema import TABLES as WRITTEN


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def exported(run: Path, table: str, folder: Path) -> list[dict[str, str]]:
    (done,) = export(run, [table], folder, Format.csv)
    rows = read(done.path)
    assert len(rows) == done.rows
    return rows


def test_numbers_give_back_their_bits_and_null_is_nothing(small: Path, tmp_path: Path) -> None:
    rows = sorted(exported(small, "trials", tmp_path), key=lambda r: (r["trial_id"], r["epsilon"]))
    wanted = sorted(Store(small).rows("trials"), key=lambda r: (r["trial_id"], r["epsilon"]))
    assert len(rows) == len(wanted) == 6
    for row, true in zip(rows, wanted, strict=True):
        assert list(row) == list(true)
        for name, value in true.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, bool):
                assert row[name] == str(value).lower()
            elif isinstance(value, float):
                assert struct.pack("d", float(row[name])) == struct.pack("d", value)
            elif isinstance(value, (int, str)):
                assert row[name] == str(value)
            else:
                assert pd.Timestamp(row[name]) == value


def test_extreme_numbers_give_back_their_bits(tmp_path: Path) -> None:
    numbers = [5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0, 1e22, 2**53 + 2.0, 1 / 3]
    create(tmp_path / "run")
    rows = [
        {"trial_id": "t", "column_id": "c", "step": step, "sharpness": number, "attempt": 1}
        for step, number in enumerate(numbers)
    ]
    write_part(tmp_path / "run", "trajectories", "t", rows)
    found = exported(tmp_path / "run", "trajectories", tmp_path / "out")
    bits = [struct.pack("d", float(row["sharpness"])) for row in found]
    assert bits == [struct.pack("d", number) for number in numbers]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_text_is_a_formula_and_no_number_is_changed(tmp_path: Path, text: str) -> None:
    create(tmp_path / "run")
    row = {"trial_id": "t", "column_id": "c", "attempt": 1, "sweep": text, "lambda_min": -1.5}
    write_part(tmp_path / "run", "trials", "t", [row])
    (found,) = exported(tmp_path / "run", "trials", tmp_path / "out")
    assert found["sweep"] == "'" + text
    assert found["lambda_min"] == "-1.5"


@pytest.mark.parametrize("text", ['a "b", c', "two\nlines = 2", "ü, η", "", " =1"])
def test_other_texts_come_back_as_they_are(tmp_path: Path, text: str) -> None:
    create(tmp_path / "run")
    row = {"trial_id": "t", "attempt": 1, "error": text, "outcome": "failed"}
    write_part(tmp_path / "run", "attempts", "t", [row])
    (found,) = exported(tmp_path / "run", "attempts", tmp_path / "out")
    assert found["error"] == text
    line = (tmp_path / "out" / "attempts.csv").read_text().splitlines()[1]
    assert line.startswith('"t",,1,"failed",,')  # NULL is nothing, while an empty text is ""


def test_no_table_has_a_column_that_a_cell_cannot_hold() -> None:
    for schema in {**WRITTEN, **ANALYSIS}.values():
        assert not any(pa.types.is_nested(field.type) for field in schema)


def test_only_the_newest_attempt_is_exported_compacted_or_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    create(run)
    for attempt in (1, 2):
        key = {"trial_id": "t", "column_id": "c", "attempt": attempt}
        rows = [{**key, "step": step} for step in range(3)]
        write_part(run, "trajectories", f"t-{attempt}", rows)
    other = [{"trial_id": "u", "column_id": "c", "attempt": 1, "step": step} for step in range(3)]
    write_part(run, "trajectories", "u-1", other)
    before = exported(run, "trajectories", tmp_path / "a")
    compact(run)
    after = exported(run, "trajectories", tmp_path / "b")
    found = [(row["trial_id"], row["attempt"], row["step"]) for row in before]
    assert found == [("t", "2", s) for s in "012"] + [("u", "1", s) for s in "012"]
    assert after == before


def test_parquet_holds_the_same_as_the_tables(small: Path, tmp_path: Path) -> None:
    done = list(export(small, TABLES, tmp_path, Format.parquet))
    assert [one.table for one in done] == list(TABLES)
    for one in done:
        assert pd.read_parquet(one.path).equals(open_run(small).arrow(one.table).to_pandas())


def test_a_run_that_is_compacted_meanwhile_is_exported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    create(run)
    for number in range(4):
        row = {"trial_id": f"t{number}", "column_id": "c", "attempt": 1, "step": 0}
        write_part(run, "trajectories", f"t{number}", [row])
    original, calls = store_read.read_part, []

    def read_part(*arguments: Any) -> pa.Table:
        calls.append(arguments[0])
        if len(calls) == 3:
            with monkeypatch.context() as unwatched:
                unwatched.setattr(store_read, "read_part", original)
                compact(run)
        return original(*arguments)

    monkeypatch.setattr(store_read, "read_part", read_part)
    rows = exported(run, "trajectories", tmp_path / "out")
    assert [row["trial_id"] for row in rows] == ["t0", "t1", "t2", "t3"]
    assert [path.name[:9] for path in calls] == [
        "t0.parque", "t1.parque", "t2.parque", "compacted",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["trajectories.csv"]


def test_files_that_are_there_are_refused_unless_forced(small: Path, tmp_path: Path) -> None:
    (tmp_path / "phase.csv").write_text("mine")
    with pytest.raises(ExportError, match=r"phase.csv' is there already; --force"):
        check_export(tmp_path, ["trials", "phase"], Format.csv, force=False)
    check_export(tmp_path, ["trials", "phase"], Format.csv, force=True)
    check_export(tmp_path, ["trials", "phase"], Format.parquet, force=False)
    with pytest.raises(ExportError, match="must be a folder that can be written"):
        check_export(tmp_path / "phase.csv", ["trials"], Format.csv, force=True)


@pytest.mark.parametrize("folder", ["trials", "analysis", "attempts/deeper"])
def test_nothing_is_written_among_the_tables_themselves(tmp_path: Path, folder: str) -> None:
    run = tmp_path / "run"
    create(run)
    before = sorted(run.rglob("*"))
    with pytest.raises(ExportError, match="it must not be among the run's own tables"):
        list(export(run, ["trials"], run / folder, Format.parquet))
    assert sorted(run.rglob("*")) == before


def test_small_files_share_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    create(run)
    for number in range(25):
        row = {"trial_id": f"t{number}", "attempt": 1, "column_id": "c", "epsilon": 0.1}
        write_part(run, "trials", f"t{number}", [row])
    monkeypatch.setattr("orchestrator.reading.exports._PIECE", 10)
    (done,) = export(run, ["trials"], tmp_path / "out", Format.parquet)
    found = pq.ParquetFile(done.path)
    assert [found.metadata.row_group(i).num_rows for i in range(3)] == [10, 10, 5]
    assert done.rows == found.metadata.num_rows == 25
