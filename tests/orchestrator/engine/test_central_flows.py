"""A sweep with central flows, from its file to its tables, figures and page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.in_process import rows_of, run_of
from support.in_process import settled as eos

from jobs import run_trial
from orchestrator.ledger import Ledger
from orchestrator.run_directory import sweep_of

TEXT = """
name: central
kinds: [flow, gd, central]
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, activation: tanh, dtype: float64}
eta: {values: [0.5, 1.5, 2.0]}
stop: {epsilon: [0.3, 0.2], max_steps: 400}
measure: {trajectory_every: 10}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("central"), TEXT)


def test_every_number_is_that_of_the_trial_alone(run: Path) -> None:
    state = Ledger(run).read(sweep_of(run).columns)
    trials = {t.trial_id: t for plan in state.plans for t in plan.trials if t.kind == "central"}
    settled = rows_of(run, condition="kind = 'central'")
    assert len(trials) == 2
    assert len(settled) == 4
    for row in settled:
        result = run_trial(trials[row["trial_id"]], threads=1)
        (crossing,) = (one for one in result.crossings if one.epsilon == row["epsilon"])
        names = ("status", "steps", "time", "train_loss", "oscillation", "at_edge", "sharpness")
        for name in (*names, "gradients", "hvps", "third_derivatives", "l1_norm", "reason"):
            assert row[name] == getattr(crossing, name), name


def test_they_share_the_flow_of_gd_and_nothing_runs_twice(run: Path) -> None:
    state = Ledger(run).read(sweep_of(run).columns)
    assert state.complete.all()
    assert state.total.total == state.total.settled == 1 + 3 + 2
    assert len({row["trial_id"] for row in rows_of(run, condition="kind = 'flow'")}) == 1
    before = sorted(path.name for path in (run / "trials").iterdir())
    eos("run", str(run / "sweep.yaml"), "--run-dir", str(run))
    assert sorted(path.name for path in (run / "trials").iterdir()) == before


def test_other_trials_have_nothing_in_the_columns_of_central_flows(run: Path) -> None:
    for row in rows_of(run, condition="kind <> 'central'"):
        of_central = ("oscillation", "at_edge", "third_derivatives", "reason")
        assert [row[name] for name in of_central] == [None] * 4
    points = rows_of(run, "trajectories")
    central = {row["trial_id"] for row in rows_of(run, condition="kind = 'central'")}
    assert {p["trial_id"] for p in points if p["oscillation"] is not None} == central


def test_the_growth_of_the_norm_is_taken_apart(run: Path) -> None:
    eos("analyze", str(run))
    found = rows_of(run, "growth")
    assert [row["eta_over_eta_c"] for row in found if row["epsilon"] == 0.2] == [
        pytest.approx(factor, rel=0.1) for factor in (1.5, 2.0)
    ]
    for row in found:
        assert row["growth"] == pytest.approx(row["growth_central"] + row["growth_oscillation"])
    assert {row["column_id"] for row in rows_of(run, "phase")} == {
        row["column_id"] for row in rows_of(run, condition="kind = 'gd'")
    }


def test_figures_and_page_show_them_beside_gd(run: Path) -> None:
    drawn, *_ = json.loads(eos("report", str(run), "--figures", "central", "--json"))
    assert drawn["title"].startswith("The central flow: digits")
    assert "1.5 to 2 η_c" in drawn["alternative"]
    eos("report", str(run))
    page = (run / "report" / "index.html").read_text()
    assert "The growth of the norm, taken apart" in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    marker = [one["label"] for one in data["markers"]].index("central flow")
    assert data["crossings"]["marker"].count(marker) == 4


def test_a_central_flow_that_cannot_go_on_says_why(tmp_path: Path) -> None:
    """The Hessian of a linear model is the same everywhere, so that nothing holds it at 2/η."""
    linear = TEXT.replace("width: 8, depth: 1, activation: tanh", "depth: 0").replace(", gd", "")
    run = run_of(tmp_path, linear)
    found = rows_of(run, condition="kind = 'central'")
    assert {(row["status"], row["reason"]) for row in found} == {
        ("unsolved", "no oscillation holds 1 eigenvalue at 2/η")
    }
    said = eos("why", str(run))
    assert "no trial has failed" in said
    assert "no oscillation holds 1 eigenvalue at 2/η" in said
    eos("report", str(run))
