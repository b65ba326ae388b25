"""From the trials of a run directory to its table of phases."""

import os
from dataclasses import astuple

import pyarrow.parquet as pq
import pytest
from support.trial_rows import TrialRow

from orchestrator.analysis import analyze, is_current
from orchestrator.analysis import run as analysis_run
from orchestrator.store import ANALYSIS, PHASE, StoreError, compact, query

ETAS = (0.02, 0.04, 0.08, 0.15, 0.25, 0.4)


def fill(run, column_id: str, eta_c: dict[float, float]) -> None:
    """A flow and GD that bends at another η_c for every ε; the largest rate diverges."""
    run.trial(
        column_id,
        "flow",
        {
            e: TrialRow(status="reached", s_gf=2 / rate, sharpness=2 / rate, l1_norm=1 / e)
            for e, rate in eta_c.items()
        },
    )
    for eta in ETAS:
        run.trial(
            column_id,
            "gd",
            {
                e: TrialRow(
                    status="reached", eta=eta, sharpness=2 / max(eta, c), sharpness_converged=True
                )
                for e, c in eta_c.items()
            },
        )
    run.trial(column_id, "gd", {e: TrialRow(status="diverged", eta=0.9) for e in eta_c})


def test_an_empty_run_has_an_empty_table_with_all_columns(run) -> None:
    assert analyze(run.path).phases == []
    written = pq.read_table(run.path / "analysis" / "phase.parquet")
    assert written.schema.equals(PHASE)
    assert written.num_rows == 0


def test_an_analysis_is_current_until_there_are_other_trials(run, monkeypatch) -> None:
    """Also one that began before these came, and whatever their files' times are."""
    fill(run, "a", {0.1: 0.06})
    assert not is_current(run.path)
    analyze(run.path)
    assert is_current(run.path)
    (run.path / "analysis" / "findings.parquet").unlink()
    assert not is_current(run.path)

    judged = analysis_run.judged

    def meanwhile(*tables):
        fill(run, "b", {0.1: 0.06})
        return judged(*tables)

    monkeypatch.setattr(analysis_run, "judged", meanwhile)
    assert {row.column_id for row in analyze(run.path).phases} == {"a"}
    assert not is_current(run.path)
    monkeypatch.undo()
    analyze(run.path)
    for path in run.path.rglob("*.parquet"):
        os.utime(path, (0, 0) if "analysis" in path.parts else None)
    assert is_current(run.path)


def test_a_missing_run_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        analyze(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_every_column_and_threshold_has_its_own_row(run) -> None:
    """Seeds are columns of their own."""
    fill(run, "seed-1", {0.1: 0.06, 0.05: 0.1})
    fill(run, "seed-0", {0.1: 0.07, 0.02: 0.11})
    rows = analyze(run.path).phases
    assert [(row.column_id, row.epsilon) for row in rows] == [
        *(("seed-0", 0.02), ("seed-0", 0.1), ("seed-1", 0.05), ("seed-1", 0.1))
    ]
    assert [row.eta_c for row in rows] == pytest.approx([0.11, 0.07, 0.1, 0.06])
    assert [row.eta_c_fitted for row in rows] == pytest.approx([0.11, 0.07, 0.1, 0.06], rel=1e-6)
    assert [row.l1_flow for row in rows] == pytest.approx([50, 10, 20, 10])
    assert {(row.n_gd, row.n_diverged) for row in rows} == {(7, 1)}


def test_the_table_holds_the_rows_and_sql_finds_them(run) -> None:
    fill(run, "a", {0.1: 0.06})
    (row,) = analyze(run.path).phases
    written = pq.read_table(run.path / "analysis" / "phase.parquet")
    assert written.schema.equals(PHASE)
    assert [tuple(one.values()) for one in written.to_pylist()] == [astuple(row)]
    found = query(run.path, "SELECT eta_c_fitted, n_diverged, u_shaped FROM phase").to_pylist()
    assert found == [{"eta_c_fitted": row.eta_c_fitted, "n_diverged": 1, "u_shaped": None}]


def test_analyzing_again_replaces_the_table_and_leaves_nothing_else(run) -> None:
    fill(run, "a", {0.1: 0.06})
    first = analyze(run.path).phases
    compact(run.path)
    assert analyze(run.path).phases == first
    fill(run, "b", {0.1: 0.07})
    assert len(analyze(run.path).phases) == 2
    written = {path.name for path in (run.path / "analysis").iterdir()}
    assert written == {f"{name}.parquet" for name in ANALYSIS}


def test_the_newest_attempt_counts(run) -> None:
    fill(run, "a", {0.1: 0.06})
    again = TrialRow(status="reached", s_gf=10.0, sharpness=10.0)
    run.trial("a", "flow", {0.1: again}, trial_id="0001", attempt=2)
    assert [row.flow_sharpness for row in analyze(run.path).phases] == [10.0]


def test_gd_before_its_flow_and_a_flow_before_its_gd(run) -> None:
    run.trial("a", "gd", {0.1: TrialRow(status="max_steps", eta=0.1)})
    run.trial("b", "flow", {0.1: TrialRow(status="reached", s_gf=4.0, sharpness=4.0)})
    first, second = analyze(run.path).phases
    assert (first.eta_c, first.n_gd) == (None, 1)
    assert (second.eta_c, second.n_gd) == (0.5, 0)


def test_a_folder_that_cannot_be_made_is_named(run) -> None:
    (run.path / "analysis").write_text("in the way")
    with pytest.raises(StoreError, match="analysis could not be made"):
        analyze(run.path)


def test_an_analysis_of_other_columns_or_one_that_cannot_be_read_is_not_current(run) -> None:
    fill(run, "a", {0.1: 0.06})
    path = run.path / "analysis" / "findings.parquet"
    analyze(run.path)
    table, notes = pq.read_table(path), pq.read_metadata(path).metadata
    with pq.ParquetWriter(path, table.schema.remove(0), store_schema=False) as writer:
        writer.write_table(table.drop_columns([table.column_names[0]]))
        writer.add_key_value_metadata(notes)
    assert not is_current(run.path)
    analyze(run.path)
    content = bytearray(path.read_bytes())
    content[-100:-8] = b"\xff" * 92
    path.write_bytes(content)
    assert not is_current(run.path)


def test_an_analysis_by_other_rules_is_not_current(run, monkeypatch) -> None:
    fill(run, "a", {0.1: 0.06})
    monkeypatch.setattr(analysis_run, "_rules", lambda: "those of last month")
    analyze(run.path)
    assert is_current(run.path)
    monkeypatch.undo()
    assert not is_current(run.path)
