"""A run from its sweep file to its tables, and again, and with more in it; without Ray."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pytest

from orchestrator.engine import sweep_file


def test_a_run_settles_every_trial_and_the_tables_say_so(undisturbed: Any) -> None:
    trials = undisturbed.rows("trials")
    assert len(trials) == 2 * (1 + 5)
    assert {row["status"] for row in trials} == {"reached"}
    assert sum(row["kind"] == "flow" for row in trials) == 2
    for row in trials:
        assert row["train_loss"] <= row["epsilon"]
        assert row["eta_c"] == 2 / row["s_gf"]
        if row["kind"] == "gd":
            assert row["eta_over_eta_c"] == row["eta"] / row["eta_c"]
            assert math.isclose(row["time"], row["steps"] * row["eta"], rel_tol=1e-9)
        else:
            assert (row["eta"], row["eta_over_eta_c"]) == (None, None)
            assert row["s_gf"] == row["max_sharpness"]
    steps = {(row["trial_id"], row["step"]) for row in undisturbed.rows("trajectories")}
    assert {(row["trial_id"], row["steps"]) for row in trials} <= steps
    undisturbed.assert_settled_once()
    assert undisturbed.temporaries() == []
    assert list((undisturbed.path / "checkpoints").iterdir()) == []
    assert [p for p in (undisturbed.path / "claims").iterdir() if p.suffix != ".lock"] == []


def test_the_grid_is_laid_by_the_smallest_threshold(undisturbed: Any) -> None:
    rows = [row for row in undisturbed.rows("trials") if row["epsilon"] == 0.05]
    ratios = sorted(row["eta_over_eta_c"] for row in rows if row["kind"] == "gd")
    assert ratios == pytest.approx([0.4, 0.7, 1.0, 1.4, 1.8], rel=1e-12)


def test_the_run_directory_is_private(undisturbed: Any) -> None:
    assert undisturbed.path.stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def second_run(undisturbed: Any) -> tuple[list[list[dict[str, Any]]], str]:
    """The tables before the undisturbed run was run again, and what that printed."""
    before = [undisturbed.rows(table) for table in ("trials", "attempts")]
    return before, undisturbed.run()


def test_running_again_computes_nothing(undisturbed: Any, second_run: Any) -> None:
    (before, attempts), text = second_run
    assert "6 of 6 trials settled, 0 failed" in text
    key = lambda row: (row["trial_id"], row["epsilon"])  # noqa: E731
    assert sorted(undisturbed.rows("trials"), key=key) == sorted(before, key=key)
    assert len(undisturbed.rows("attempts")) == len(attempts)


def test_what_earlier_trials_read_is_asked_of_the_tables_once(
    make_run: Callable[..., Any], two_rates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a sweep is added; a run has it from the reading of its ledger."""
    run, asked, read = make_run(like=two_rates), [], sweep_file.read_data_digests
    monkeypatch.setattr(sweep_file, "read_data_digests", lambda p: asked.append(p) or read(p))
    run.run("eta.values=[0.5,1.0]", "stop.epsilon=0.2")
    assert asked == [run.path]
    run.eos("resume", str(run.path))
    assert asked == [run.path]


def test_every_reader_opens_the_tables_as_they_are(undisturbed: Any) -> None:
    path = undisturbed.path / "trials"
    assert len(pd.read_parquet(path)) == 12
    assert pl.read_parquet(path / "*.parquet").height == 12
    assert undisturbed.query("SELECT count(*) AS n FROM trials") == [{"n": 12}]


def test_compaction_changes_no_answer_and_two_more_rates_are_two_more_trials(
    make_run: Callable[..., Any], two_rates: Any
) -> None:
    run = make_run(like=two_rates)
    before = run.science()
    run.eos("compact", str(run.path))
    assert len(list((run.path / "trials").glob("*.parquet"))) == 1
    assert run.science() == before
    known = {row["trial_id"] for row in run.rows("attempts")}
    run.run("eta.values=[0.5,0.8,1.0,1.5]", "stop.epsilon=0.2")
    new = [row for row in run.rows("attempts") if row["trial_id"] not in known]
    assert len(new) == 2
    assert len(run.rows("attempts")) == 5
    assert len(run.rows("trials")) == 5
    status = json.loads(run.eos("status", str(run.path), "--json"))
    assert [column["settled"] for column in status["columns"]] == [5]


def test_divergence_is_an_outcome_and_large_rates_are_left_out(
    make_run: Callable[..., Any],
) -> None:
    run = make_run()
    run.run("eta.values=[1.0,20,30,40,50]", "stop.epsilon=0.2")
    gd = sorted((r for r in run.rows("trials") if r["kind"] == "gd"), key=lambda r: r["eta"])
    assert [row["status"] for row in gd] == ["reached", "diverged", "diverged"]
    assert gd[1]["sharpness"] is None
    status = json.loads(run.eos("status", str(run.path), "--json"))
    assert status["columns"][0]["skipped"] == 2


def test_a_flow_that_stops_short_is_reported(make_run: Callable[..., Any]) -> None:
    run = make_run()
    text = run.run("stop.max_steps=20", "stop.epsilon=0.01", expect=3)
    assert "did not reach loss 0.01 within stop.max_steps = 20" in text
    assert [row["status"] for row in run.rows("trials")] == ["max_steps"]


def test_the_summary_names_what_a_reader_needs(undisturbed: Any, second_run: Any) -> None:
    _, text = second_run
    for expected in ("η/η_c", "S·η/2", "ℓ1", "test loss", "η_c fitted", "tables", "next"):
        assert expected in text
    assert (undisturbed.path / "analysis" / "phase.parquet").is_file()
    pictures = list((undisturbed.path / "report").glob("*.png"))
    assert len(pictures) == 1
    assert pictures[0].read_bytes().startswith(b"\x89PNG")


def test_tiny_trials_share_part_files(make_run: Callable[..., Any]) -> None:
    run = make_run()
    rates = [0.3 + 0.01 * i for i in range(120)]
    run.run(
        "problem.n_train=20", "problem.width=4", "problem.depth=1", f"eta.values={rates}",
        "stop.epsilon=0.4", "measure.trajectory_every=1000",
    )  # fmt: skip
    assert len(run.rows("trials")) == 121
    parts = [path for table in ("trials", "trajectories", "attempts")
             for path in (run.path / table).glob("*.parquet")]  # fmt: skip
    assert len(parts) < 121
    gd = [row for row in run.rows("trials") if row["kind"] == "gd"]
    at_once = max(
        sum(row["started_at"] <= moment < row["finished_at"] for row in gd)
        for moment in (row["started_at"] for row in gd)
    )
    assert at_once > len(os.sched_getaffinity(0))  # they are computed together
    assert all(row["wall_s"] > 0 for row in gd)
    run.assert_settled_once()
