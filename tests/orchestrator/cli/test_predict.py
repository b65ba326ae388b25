"""``eos predict``: a recommended rate for a share of the grid's cost, from real trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.in_process import eos, rows_of, settled

from orchestrator.report import figures_of

TEXT = """
name: small
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, activation: tanh, loss: [mse, ce]}
eta: {values: {geometric: [0.125, 8, 13]}}
stop: {epsilon: [0.4, 0.1], max_steps: 3000}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep file and its run directory, for which a fifth of the cost was spent."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "sweep.yaml").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_predict(folder, "--json"))
    return content


def _predict(folder: Path, *more: str) -> str:
    arguments = [str(folder / "sweep.yaml"), "--run-dir", str(folder / "run"), *more]
    return settled("predict", *arguments)


def test_no_more_is_spent_than_a_fifth_of_what_the_grid_would_cost(
    found: dict[str, Any], folder: Path
) -> None:
    costs = {row["trial_id"]: 0 for row in rows_of(folder / "run" / "predict")}
    for row in rows_of(folder / "run" / "predict"):
        costs[row["trial_id"]] = max(costs[row["trial_id"]], row["gradients"] + row["hvps"])
    assert sum(costs.values()) == sum(
        one["flow"] + one["probes"] for one in found["spent"].values()
    )
    assert len(found["spent"]) == 2
    for one in found["spent"].values():
        assert one["share"] == pytest.approx((one["flow"] + one["probes"]) / one["grid"])
        assert one["probes"] > 0
        assert one["share"] <= 0.2


def test_the_rate_is_the_best_of_those_that_were_tried(found: dict[str, Any], folder: Path) -> None:
    assert len(found["recommended"]) == 4
    for one in found["recommended"]:
        here = f"column_id = '{one['column_id']}' AND epsilon = {one['epsilon']} AND kind = 'gd'"
        rows = rows_of(folder / "run" / "predict", condition=here)
        reached = [row for row in rows if row["status"] == "reached"]
        stable = [row for row in reached if row["eta"] * row["sharpness"] / 2 <= 1.5]
        assert one["eta"] == min(stable, key=lambda row: row["test_loss"])["eta"]
        assert len(one["tried"]) + len(one["beyond"]) == len(rows) < 14
        assert one["evidence"]["n"] > 20


def test_it_asks_for_the_same_rates_again_and_goes_on_with_a_larger_share(
    found: dict[str, Any], folder: Path
) -> None:
    before = rows_of(folder / "run" / "predict", "attempts")
    assert json.loads(_predict(folder, "--json")) == found
    assert rows_of(folder / "run" / "predict", "attempts") == before
    more = json.loads(_predict(folder, "--json", "--spend", "0.9"))
    assert len(rows_of(folder / "run" / "predict", "attempts")) > len(before)
    assert all(one["share"] <= 0.9 for one in more["spent"].values())
    one = more["recommended"][1]  # at the smaller ε, of which the rates are multiples
    rates = np.geomspace(0.125, 8, 13) * one["eta_c"]
    stable = rates[rates < 0.999 * min(one["beyond"])]
    assert [row["eta"] for row in one["tried"]] == pytest.approx(stable, rel=1e-9)


def test_the_sweep_itself_is_untouched_and_its_figure_shows_what_was_predicted(
    found: dict[str, Any], folder: Path
) -> None:
    run = folder / "run"
    _predict(folder)
    assert {path.name for path in run.iterdir()} == {"predict"}
    assert sorted(path.suffix for path in (run / "predict" / "report").iterdir()) == [".png"] * 2
    settled("run", str(folder / "sweep.yaml"), "problem.loss=mse", "--run-dir", str(run))
    columns = {row["column_id"] for row in rows_of(run)}
    assert columns.isdisjoint(one["column_id"] for one in found["recommended"])  # measured densely
    (figure,) = figures_of(run, names=["transition"])
    (legend,) = figure.figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert [text for text in said if text.startswith("recommended")] != []
    assert "what eos predict says" in figure.caption


def test_what_is_printed_says_what_the_rate_follows_from_and_what_that_was_worth(
    found: dict[str, Any], folder: Path
) -> None:
    said = _predict(folder)
    assert "Recommended learning rates" in said
    assert "least test loss of" in said
    assert "the best rate that was tried" in said
    assert "loss mse: at 64 places with small networks (docs/predicting.md)" in said
    assert f"eos run {folder / 'sweep.yaml'} --run-dir {folder / 'run'}" in said


def test_a_share_that_pays_for_the_flow_alone_gives_twice_eta_c(folder: Path) -> None:
    run = folder / "flow"
    arguments = (str(folder / "sweep.yaml"), "--run-dir", str(run), "--spend", "0.001", "--json")
    content = json.loads(settled("predict", *arguments))
    assert {row["kind"] for row in rows_of(run / "predict")} == {"flow"}
    for one in content["recommended"]:
        assert (one["basis"], one["tried"]) == ("twice_eta_c", [])
        assert one["eta"] == pytest.approx(2 * one["eta_c"], rel=1e-12)


@pytest.mark.parametrize("share", ["0", "-0.1", "1.5", "nan"])
def test_a_share_must_be_one(folder: Path, share: str) -> None:
    status, _, errors = eos("predict", str(folder / "sweep.yaml"), "--spend", share)
    assert status == 2
    assert f"--spend is {float(share):g}; it must be above 0 and at most 1" in errors


def test_only_plain_gd_has_a_prediction(folder: Path) -> None:
    config = str(folder / "sweep.yaml")
    status, _, errors = eos(
        "predict", config, "optimizer.name=heavy_ball", "--run-dir", str(folder / "none")
    )
    assert status == 2
    assert "the sweep has no column of plain GD that begins at θ0" in errors
    assert not (folder / "none").exists()
    run = folder / "both"
    said = settled(
        "predict", config, "problem.loss=mse", "optimizer.name=[gd, heavy_ball]",
        "--run-dir", str(run), "--spend", "0.001",
    )  # fmt: skip
    assert "1 columns are not of plain GD that begins at θ0: nothing is predicted of them" in said


def test_a_flow_that_does_not_come_to_epsilon_is_said(folder: Path) -> None:
    run = folder / "short"
    arguments = ("problem.loss=mse", "stop={epsilon: 0.0000001, max_steps: 3}")
    said = settled("predict", str(folder / "sweep.yaml"), *arguments, "--run-dir", str(run))
    assert "its flow did not reach loss 1e-07" in said
