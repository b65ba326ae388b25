"""States that a sweep keeps: files, rows that list them, and θ and networks for Python."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.in_process import run_of

from jobs import Problem
from jobs.problem import pose
from orchestrator import open_run
from orchestrator import sweep as sweeps
from orchestrator.engine import prepare
from orchestrator.engine.capacity import kept_bytes
from orchestrator.reading import NoStateError
from orchestrator.store import StoreError
from orchestrator.sweep import SweepError

TEXT = """
name: kept
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, activation: tanh,
  parameterization: [standard, ntk], base_width: 4}
eta: {values: [0.5, 1.5]}
stop: {epsilon: [0.4, 0.3], max_steps: 400}
measure: {trajectory_eigenvalues: 2, trajectory_every: 10}
resources: {keep: [thresholds, 5]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("kept"), TEXT)


def test_every_threshold_and_step_has_a_row_and_a_file(run: Path) -> None:
    with open_run(run) as tables:
        trials = tables.arrow("trials", ["trial_id", "kind", "epsilon", "steps"]).to_pylist()
        states = tables.arrow("states").to_pylist()
    expected = {(row["trial_id"], row["epsilon"], row["steps"]) for row in trials}
    expected |= {(row["trial_id"], None, 5) for row in trials if row["kind"] == "gd"}
    assert {(row["trial_id"], row["epsilon"], row["step"]) for row in states} == expected
    assert {row["file"] for row in states} == {path.name for path in (run / "kept").iterdir()}
    for row in states:
        assert (run / "kept" / row["file"]).stat().st_size == row["bytes"]


def test_every_recorded_step_has_its_leading_eigenvalues(run: Path) -> None:
    with open_run(run) as tables:
        points = tables.arrow("trajectories", ["trial_id", "step", "sharpness"]).to_pylist()
        spectra = tables.arrow("spectra").to_pylist()
    top = {(row["trial_id"], row["step"]): row["eigenvalue"] for row in spectra if row["rank"] == 1}
    assert len(spectra) == 2 * len(points) == 2 * len(top)
    for point in points:
        assert abs(top[point["trial_id"], point["step"]]) == pytest.approx(
            point["sharpness"], rel=1e-4
        )


def test_theta_and_the_network_are_those_of_the_row(run: Path) -> None:
    with open_run(run) as tables:
        for row in tables.arrow("trials").to_pylist():
            theta = tables.theta(row["trial_id"], row["epsilon"])
            assert float(theta.double().norm()) == pytest.approx(row["l2_norm"], rel=1e-12)
            module = tables.module(row["trial_id"], row["epsilon"])
            posed = Problem(
                dataset="digits", n_train=60, width=8, depth=1, activation="tanh",
                parameterization=row["parameterization"], base_width=row["base_width"],
            )  # fmt: skip
            _, test, _ = pose(posed)
            with torch.no_grad():
                loss = test.loss_sum(module(test.inputs), test.labels) / test.samples
            assert float(loss) == pytest.approx(row["test_loss"], rel=1e-5)


def test_the_example_of_the_guide_gives_the_network_of_the_best_row(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```py\n(.*?)```", guide, flags=re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mine").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"open_run": open_run}
    exec(example, names)
    assert names["network"](torch.zeros(7, 64)).shape == (7, 10)
    with open_run(run) as tables:
        rows = tables.arrow("trials", ["trial_id", "test_loss"]).to_pylist()
    best = min(rows, key=lambda row: row["test_loss"])
    assert names["best"][0][0] == best["trial_id"]


def test_a_missing_state_is_named_with_those_that_are_kept(run: Path) -> None:
    with open_run(run) as tables:
        name = next(
            row["trial_id"]
            for row in tables.arrow("trials", ["trial_id", "kind"]).to_pylist()
            if row["kind"] == "gd"
        )
        assert tables.theta(name, step=5).ndim == 1
        with pytest.raises(NoStateError, match=r"at epsilon 0.2; it must be one of "):
            tables.theta(name, 0.2)
        with pytest.raises(NoStateError, match="has no state at step 1"):
            tables.module(name, step=1)
        with pytest.raises(NoStateError, match="the trial kept none"):
            tables.theta("0123456789abcdef", step=6)
        with pytest.raises(ValueError, match="it must be 16 hexadecimal digits"):
            tables.theta("' OR 1=1 --", step=6)
        for given in ({}, {"epsilon": 0.3, "step": 5}):
            with pytest.raises(ValueError, match="one of epsilon and step must be given"):
                tables.theta(name, **given)
        (run / "kept" / f"{name}-5.safetensors").write_bytes(b"cut")
        with pytest.raises(StoreError, match="cannot be read"):
            tables.theta(name, step=5)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("thresholds", ("thresholds",)),
        ("[100, thresholds, 3, 100]", ("thresholds", 3, 100)),
        ("7", (7,)),
        ("[]", ()),
    ],
)
def test_keep_is_read_and_written_back(value: str, kept: tuple[object, ...]) -> None:
    sweep = sweeps.parse(TEXT, [f"resources.keep={value}"])
    assert {column.resources.keep for column in sweep.columns} == {kept}
    assert sweeps.parse(sweeps.dump(sweep)) == sweep


@pytest.mark.parametrize("value", ["all", "[-1]", "[1.5]", "true", "[thresholds, end]"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(SweepError, match=r"resources.keep is .*; it must be thresholds, a list of"):
        sweeps.parse(TEXT, [f"resources.keep={value}"])


def test_more_than_the_disk_has_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column has a flow and two rates, each with two thresholds and a step."""
    sweep = sweeps.parse(TEXT, ["problem.parameterization=ntk"])
    (column,) = sweep.columns
    size = 4 * (65 * 8 + 9 * 10)
    assert kept_bytes(column, 3) == 3 * 3 * size
    disk = SimpleNamespace(free=9 * size - 1)
    monkeypatch.setattr("orchestrator.engine.capacity.shutil.disk_usage", lambda path: disk)
    with pytest.raises(SweepError, match="keep fewer, or use another --run-dir"):
        prepare(tmp_path / "run", sweep)
    assert not (tmp_path / "run").exists()
    disk.free += 1
    prepare(tmp_path / "run", sweep)
