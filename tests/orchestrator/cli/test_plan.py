"""What ``eos plan`` says of a sweep: how many files, what it costs, and what that rests on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import Problem
from jobs import problem as problems
from jobs.batch_bounds import BatchBounds
from jobs.device_speed import Calibration, DeviceSpeed
from jobs.problem import Timing
from orchestrator import sweep as sweeps
from orchestrator.engine import RunEnvironment, Snapshot, execute, prepare
from orchestrator.engine.calibration import keep
from orchestrator.watch import Watcher

Eos = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data root of its own, where no speed of this machine's cores is kept."""
    monkeypatch.setenv("EOS_DATA", str(tmp_path / "data"))


MEASURED = """
name: measured
problem: {dataset: digits, n_train: 40, width: 4, depth: 1, loss: [mse, ce]}
eta: {unit: absolute, values: [0.1]}
stop: {epsilon: 0.4, max_steps: 20}
when:
  - {match: {problem.loss: ce}, measure: {also: norms}}
"""

SHARED = """
name: shared
problem: {dataset: digits, n_train: 40, width: 4, depth: 1, loss: mse}
eta: {unit: absolute, values: [0.1]}
stop: {epsilon: 0.4, max_steps: 20}
grids:
  - problem: {seed: 0}
    resources: {workers: 2, cpus_per_worker: 3}
  - problem: {seed: 1}
    resources: {gpus_per_worker: 0.25}
"""

PROTOCOLS = """
name: protocols
problem: {dataset: digits, n_train: 40, width: 8, depth: 1, loss: mse}
eta: {values: [1.0]}
grids:
  - stop: {epsilon: 0.4, max_steps: 200}
  - stop: {epsilon: [0.3, 0.2], max_steps: 200}
"""


def test_plan_counts_the_files_that_a_run_writes(
    eos: Eos, compute: Callable[..., Path], tmp_path: Path
) -> None:
    """A table more where measures are asked for, which only one of the columns does."""
    config, run = tmp_path / "measured.yaml", tmp_path / "run"
    config.write_text(MEASURED)
    planned = json.loads(eos("plan", config, "--run-dir", run, "--json").out)
    assert planned["files"] == 2 * 3 + 2 * 4
    compute(run, config, trials=2)
    assert len(list(run.rglob("*.parquet"))) == planned["files"]


def test_hours_are_those_of_the_cores_and_cards_that_trials_occupy(
    eos: Eos, tmp_path: Path
) -> None:
    config = tmp_path / "shared.yaml"
    config.write_text(SHARED)
    planned = json.loads(eos("plan", config, "--json").out)
    cpus, gpu = planned["columns"]
    assert cpus["CPU-core hours"] == pytest.approx(2 * 3 / 0.25 * gpu["GPU hours"])
    assert (cpus["GPU hours"], gpu["CPU-core hours"]) == (None, None)
    assert planned["cpu_core_hours"] == cpus["CPU-core hours"]
    assert planned["gpu_hours"] == gpu["GPU hours"]
    said = eos("plan", config).out
    assert " of one CPU-core and " in said
    assert " of one GPU (" in said


def test_columns_of_one_problem_look_different(eos: Eos, tmp_path: Path) -> None:
    config = tmp_path / "protocols.yaml"
    config.write_text(PROTOCOLS)
    columns = json.loads(eos("plan", config, "--json").out)["columns"]
    assert [row["column"].partition("seed 0")[2] for row in columns] == [" ε 0.4", " ε 0.3, 0.2"]


def test_plan_says_what_its_prediction_rests_on(
    eos: Eos, compute: Callable[..., Path], tmp_path: Path
) -> None:
    """Two columns are predicted by a core's speed, also for a GPU, until one of them was timed."""
    config, run = tmp_path / "protocols.yaml", tmp_path / "run"
    config.write_text(PROTOCOLS)
    core, gpu = "at the speed of one CPU core", "all but tiny networks take less on a GPU"
    plain = eos("plan", config, "--run-dir", run).out
    with_gpu = eos("plan", config, "resources.gpus_per_worker=1", "--run-dir", run).out
    assert (core in plain, gpu in plain) == (True, False)
    assert (core in with_gpu, gpu in with_gpu) == (True, True)
    compute(run, config, trials=1)
    assert core not in eos("plan", config, "--run-dir", run).out


OPEN = """
name: open
problem: {dataset: digits, n_train: [40, 1000], width: 200}
eta: {values: [0.5, 1.0]}
stop: {epsilon: 0.4, max_steps: 200}
"""
NODES = "nodes: 1\ncpus_per_node: 8\ngpus_per_node: 2\n"


def test_hours_are_those_of_the_nodes_that_a_profile_names(eos: Eos, tmp_path: Path) -> None:
    """By the maker's word, then as measured; and a plan without a name says what is missing."""
    config, profile = tmp_path / "open.yaml", tmp_path / "site.yaml"
    config.write_text(OPEN)

    def planned(gpu: str) -> tuple[list[float | None], str]:
        profile.write_text(NODES + gpu)
        text = eos("plan", config, "--cluster", profile, "--json").out
        found = json.loads(text[text.index("{") :])  # after the warnings
        hours = [row["GPU hours"] for row in found["columns"]]
        return hours, eos("plan", config, "--cluster", profile).out

    hours, said = planned("gpu: NVIDIA A100-SXM4-40GB")
    assert all(hours)
    assert "is taken at the speed of NVIDIA A100-SXM4-40GB by its maker)" in said
    speed = DeviceSpeed(1e-6, {"float32": 1e15, "float64": 1e15}, 1e15)
    size = 4 * 500 * (65 * 200 + 201 * 200 + 201 * 10)
    keep("cuda", "Mine", Calibration(BatchBounds(0, 0, pays_from=size), speed))
    hours, said = planned("gpu: Mine")
    assert (hours[0] is None, (hours[1] or 0) > 0) == (True, True)
    assert "the speed of one CPU core and the speed measured of Mine)" in said
    hours, said = planned("")
    assert hours == [None, None]
    assert "the profile does not name its GPUs" in said
    hours, said = planned("gpu: Voodoo 2")
    assert "nothing is known of gpu 'Voodoo 2'" in said


def test_plan_refuses_a_directory_that_a_run_would_refuse(
    eos: Eos, compute: Callable[..., Path], tmp_path: Path
) -> None:
    config, run = tmp_path / "measured.yaml", tmp_path / "run"
    config.write_text(MEASURED)
    compute(run, config, trials=1)
    config.write_text(MEASURED.replace("name: measured", "name: other"))
    planned = eos("plan", config, "--run-dir", run)
    assert planned.status == 2
    assert "belongs to sweep 'measured'; sweep 'other' must have another" in planned.error


OWN = """
name: own
problem: {dataset: digits, n_train: 40, width: 8}
eta: {values: [1.0]}
stop: {epsilon: 0.4, max_steps: 200}
"""

NETWORKS = """
from torch import nn

def fine(width, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, outputs))

def mixing(outputs):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, outputs))
"""


def test_a_network_of_the_users_own_is_timed_before_its_cost_is_said(
    eos: Eos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations alone said 26 s of one that took hours."""
    (tmp_path / "own.py").write_text(NETWORKS)
    config = tmp_path / "own.yaml"
    config.write_text(OWN)
    network = f"problem.architecture={tmp_path / 'own.py'}:fine"
    seconds: list[float] = []

    def slow(problem: Problem, limit: float, threads: int) -> Timing:
        seconds.append(limit)
        return Timing(gradient=7.0, product=7.0, samples=problem.n_train)

    monkeypatch.setattr(problems, "time_problem", slow)
    planned = json.loads(eos("plan", config, network, "--json").out)
    assert planned["cpu_core_hours"] == pytest.approx(7.0 * planned["gradients"] / 3600)
    (row,) = planned["columns"]
    assert (row["guess"], row["timed"], row["refused"]) == (True, True, None)
    assert len(seconds) == 1
    said = eos("plan", config, network).out
    assert "a gradient and a Hessian product were timed on a CPU of this machine" in said
    assert "was never timed" not in said


CONFIGS = Path(__file__).parents[3] / "configs"
SHIPPED = [
    *sorted((CONFIGS / "paper" / "small").glob("e*.yaml")),
    *(CONFIGS / "paper" / "full.yaml", CONFIGS / "quickstart.yaml"),
]


@pytest.mark.parametrize("config", SHIPPED, ids=lambda path: path.stem)
def test_every_sweep_that_is_shipped_can_be_planned_without_data_and_lacks_official_files_alone(
    eos: Eos, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``full.yaml`` has the columns of all files beside it."""
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    monkeypatch.setattr("orchestrator.engine.timing.SECONDS", 0.0)
    sweep = sweeps.load(config)
    files = {"mnist", "cifar10"} & {c.problem.dataset.partition("(")[0] for c in sweep.columns}
    planned = eos("plan", config, "--run-dir", tmp_path / "run")
    assert planned.status == 0
    assert "not predicted" not in planned.out  # every network can be made
    said = [line for line in planned.out.splitlines() if line.startswith("warning: ")]
    assert sorted(line.split()[2].partition("(")[0] for line in said) == sorted(files)
    assert all(line.count("data fetch") == 1 for line in said)
    assert json.loads(_without_warnings(eos("plan", config, "--json").out))["to do"] > 10


def _without_warnings(out: str) -> str:
    return "".join(line for line in out.splitlines(True) if not line.startswith("warning: "))


def test_plan_status_watch_and_run_say_the_same_time_to_go_before_a_flow_has_ended(
    eos: Eos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run times a gradient when it begins, and keeps that; who reads it times nothing again."""
    (tmp_path / "own.py").write_text(NETWORKS)
    config, run = tmp_path / "own.yaml", tmp_path / "run"
    config.write_text(OWN.replace("digits,", f"digits, architecture: '{tmp_path}/own.py:fine',"))
    timed: list[Problem] = []

    def slow(problem: Problem, limit: float, threads: int) -> Timing:
        timed.append(problem)
        return Timing(gradient=7.0, product=7.0, samples=problem.n_train)

    monkeypatch.setattr(problems, "time_problem", slow)
    sweep = prepare(run, sweeps.load(config))
    assert json.loads(eos("status", run, "--json").out)["remaining_s"] is None
    snapshots: list[Snapshot] = []
    too_late = RunEnvironment(stop_at=lambda: 0.0)
    outcome = execute(
        run, sweep.name, sweep.columns, observe=snapshots.append, warn=print, environment=too_late
    )
    assert (outcome.snapshot.trials.settled, len(timed)) == (0, 1)
    planned = json.loads(eos("plan", config, "--run-dir", run, "--json").out)
    seconds = 7.0 * planned["gradients"]
    assert 3600 * planned["cpu_core_hours"] == pytest.approx(seconds, rel=1e-12)
    assert snapshots[0].remaining_s == pytest.approx(seconds, rel=1e-12)
    assert json.loads(eos("status", run, "--json").out)["remaining_s"] == snapshots[0].remaining_s
    assert Watcher(run).view().remaining_s == snapshots[0].remaining_s
    assert "were timed when a run began" in eos("plan", config, "--run-dir", run).out
    assert len(timed) == 1


def test_a_network_that_a_run_refuses_has_no_cost(eos: Eos, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NETWORKS)
    config = tmp_path / "own.yaml"
    config.write_text(OWN)
    both = f"problem.architecture=[fcn, {tmp_path / 'own.py'}:mixing]"
    alone = json.loads(eos("plan", config, "--json").out)
    out = eos("plan", config, both, "--json").out
    planned = json.loads(out[out.index("{\n") :])  # behind the warning
    fcn, mixing = planned["columns"]
    assert (mixing["gradients"], mixing["CPU-core hours"], mixing["timed"]) == (None, None, None)
    assert "BatchNorm1d in training mode" in mixing["refused"]
    assert fcn["refused"] is None
    assert planned["cpu_core_hours"] == alone["cpu_core_hours"] > 0
    said = eos("plan", config, both, "problem.seed=[0, 1]").out
    assert said.count("BatchNorm1d in training mode") == 1
    assert "not predicted: 2 columns whose network cannot be made, which eos run refuses" in said
    assert eos("run", config, both, "--run-dir", tmp_path / "new").status == 2
