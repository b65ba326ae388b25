"""Tables that were written before a column was there have NULL in it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from orchestrator.store import Store, compact, create, query, write_part

OLD, NEW = "0" * 16, "1" * 16


def _older(run: Path, name: str) -> None:
    """Take the column away, as from a file of a version that had none."""
    path = run / "trials" / f"{name}.parquet"
    pq.write_table(pq.read_table(path).drop_columns("data_digest"), path)


def test_rows_without_a_digest_are_read_compacted_and_asked_for(tmp_path: Path) -> None:
    run = tmp_path / "run"
    create(run)
    for trial in (OLD, NEW):
        row = {"trial_id": trial, "column_id": "c", "attempt": 1, "epsilon": 0.1}
        write_part(run, "trials", trial, [{**row, "data_digest": "d"}])
    _older(run, OLD)
    expected = [(OLD, None), (NEW, "d")]
    sql = "SELECT trial_id, data_digest FROM trials ORDER BY trial_id"
    for _ in ("parts", "compacted"):
        rows = Store(run).table("trials", ["trial_id", "data_digest"]).to_pylist()
        assert sorted((row["trial_id"], row["data_digest"]) for row in rows) == expected
        assert [tuple(row.values()) for row in query(run, sql).to_pylist()] == expected
        assert Store(run).unreadable == []
        compact(run)
