"""A sweep with optimisers and starts, from its file to its tables, page and reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support import in_process
from support.in_process import rows_of, run_of
from support.in_process import settled as eos

from jobs import StateName, run_trial
from orchestrator import open_run
from orchestrator import sweep as sweeps
from orchestrator.analysis import by_column
from orchestrator.ledger import Ledger
from orchestrator.run_directory import sweep_of
from orchestrator.store import Store
from orchestrator.store.starts import start_path

TEXT = """
name: starts
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, activation: tanh}
eta: {values: [0.5, 1.5], stop_after_divergences: null}
stop: {epsilon: [0.4, 0.3], max_steps: 400}
measure: {trajectory_every: 10}
grids:
  - {label: hot, eta: {values: [0.5, 30.0]}}
  - {optimizer: {name: heavy_ball, momentum: 0.5}}
  - {optimizer: {name: adam}, eta: {unit: absolute, values: [0.01]}}
  - label: cold
    start: {from: hot, epsilon: 0.4, average: [1, 3]}
    eta: {values: [0.3]}
  - start: {from: cold, epsilon: 0.3}
    optimizer: {name: nesterov}
    stop: {epsilon: 0.25}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("starts"), TEXT)


def test_each_flow_is_computed_once(run: Path) -> None:
    flows = {row["trial_id"] for row in rows_of(run, condition="kind = 'flow'")}
    protocols = {column.protocol for column in sweep_of(run).columns}
    assert len(flows) == len(protocols) == 2
    assert {row["flow_id"] for row in rows_of(run)} == flows
    assert {row["attempt"] for row in rows_of(run)} == {1}


def test_every_number_is_that_of_the_trial_alone(run: Path) -> None:
    state = Ledger(run).read(sweep_of(run).columns)
    trials = {t.trial_id: t for plan in state.plans for t in plan.trials if t.kind == "gd"}
    settled = rows_of(run, condition="kind = 'gd' AND status <> 'no_start'")
    assert len({row["trial_id"] for row in settled}) == 2 + 2 + 1 + 2 + 4
    for row in settled:
        trial = trials[row["trial_id"]]
        result = run_trial(trial, threads=1)
        (crossing,) = (one for one in result.crossings if one.epsilon == row["epsilon"])
        for name in ("status", "steps", "sharpness", "preconditioned_sharpness", "test_loss"):
            assert row[name] == getattr(crossing, name), (name, trial)
        assert (row["optimizer"], row["momentum"]) == (
            trial.optimizer.name,
            trial.optimizer.momentum,
        )
        parent = trial.start.parent.trial_id if trial.start else None
        assert (row["parent_id"], row["start_step"]) == (parent, result.start_step)
        assert (row["start"] is None) == (parent is None)


def test_children_of_a_trial_that_diverged_are_skipped_and_say_so(run: Path) -> None:
    lost = rows_of(run, condition="status = 'no_start'")
    assert {row["start"].partition(",")[0] for row in lost} == {"30 η_c"}
    assert {row["sharpness"] for row in lost} | {row["train_loss"] for row in lost} == {None}
    said = eos("why", str(run))
    assert "no trial has failed" in said
    assert "diverged after" in " ".join(said.split())
    one = next(row for row in lost if ";" not in row["start"])
    assert f"trial {one['parent_id']} diverged" in eos("why", str(run), one["trial_id"])
    found = json.loads(eos("why", str(run), "--json"))
    assert {row["trial_id"] for row in found} == {row["trial_id"] for row in lost}
    assert "skipped" in eos("status", str(run))


def test_nothing_is_left_and_nothing_runs_twice(run: Path) -> None:
    state = Ledger(run).read(sweep_of(run).columns)
    assert state.complete.all()
    assert state.total.unfinished == 0
    assert state.total.skipped == 2 + 4
    before = sorted(path.name for path in (run / "trials").iterdir())
    eos("run", str(run / "sweep.yaml"), "--run-dir", str(run))
    assert sorted(path.name for path in (run / "trials").iterdir()) == before


def test_a_state_that_is_gone_is_computed_again(run: Path, tmp_path: Path) -> None:
    more = "grids=" + json.dumps(
        [
            {"label": "hot", "eta": {"values": [0.5]}},
            {"start": {"from": "hot", "epsilon": 0.4}, "eta": {"values": [0.3, 0.2]}},
        ]
    )
    file = tmp_path / "more.yaml"
    file.write_text(TEXT.partition("grids:")[0])
    for path in (run / "starts").glob("*.safetensors"):
        path.unlink()
    eos("run", str(file), more, "--run-dir", str(run))
    made = [path.name for path in (run / "starts").iterdir()]
    assert len(made) == 1  # of the one parent that was needed
    new = rows_of(run, condition="kind = 'gd' AND eta_multiple = 0.2")
    assert [row["status"] for row in new] == ["reached", "reached"]


def test_the_analysis_and_the_page_have_all_columns(run: Path) -> None:
    eos("analyze", str(run))
    with open_run(run) as tables:
        phase = tables.arrow("phase").to_pylist()
        labels = {row["column_id"]: row["label"] for row in tables.arrow("columns").to_pylist()}
    trials = by_column(Store(run).table("trials"))
    assert {row["column_id"] for row in phase} == set(trials["column_id"].to_pylist())
    momentum = next(row for row in phase if labels[row["column_id"]].startswith("heavy_ball"))
    plain = next(
        row
        for row in phase
        if labels[row["column_id"]] == "gd" and row["epsilon"] == momentum["epsilon"]
    )
    assert momentum["eta_c"] == pytest.approx(1.5 * plain["eta_c"], rel=1e-12)
    eos("report", str(run), "--figures", "starts")
    (figure,) = (run / "report").glob("starts-*.svg")
    assert figure.stat().st_size > 10_000
    page = (run / "report" / "index.html").read_text()
    assert "Of other optimisers than GD" in page
    assert "heavy_ball" in page


def test_the_sweep_that_is_kept_is_the_one_that_was_asked_for(run: Path) -> None:
    kept = sweeps.load(run / "sweep.yaml")
    wanted = {column.column_id for column in sweeps.parse(TEXT).columns}
    assert wanted <= {column.column_id for column in kept.columns}


def test_a_damaged_state_is_set_aside_and_made_again(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text(TEXT.partition("grids:")[0])
    more = [
        {"label": "hot", "eta": {"values": [0.5]}},
        {"start": {"from": "hot", "epsilon": 0.4}, "eta": {"values": [0.25]}},
    ]
    hot = Ledger(run).read(sweep_of(run).columns).plans[0]
    parent = next(t for t in hot.trials if t.learning_rate == 0.5 * hot.critical_rate)
    name = start_path(run, parent.trial_id, StateName(epsilon=0.4))
    whole = load_file(name)["theta"].clone()  # it is read lazily
    name.write_bytes(name.read_bytes()[:-40])
    status, _, errors = in_process.eos(
        "run", str(file), f"grids={json.dumps(more)}", "--run-dir", str(run)
    )
    assert status == 0
    assert f"start {name.name} is damaged; it was set aside as" in errors
    assert load_file(name)["theta"].equal(whole)
    assert len(rows_of(run, condition="eta_multiple = 0.25")) == 2
