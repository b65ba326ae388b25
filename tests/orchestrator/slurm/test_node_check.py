"""What a node must be like, asked of this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.batch_bounds import BatchBounds
from jobs.device_speed import Calibration, DeviceSpeed
from orchestrator.engine import calibration, prepare
from orchestrator.slurm import node_check, preflight
from orchestrator.slurm.node_check import (
    MeasuredDevice,
    check_node,
    file_system,
    interface_problems,
    is_shared,
    temp_root_problems,
    versions,
)
from orchestrator.slurm.profile import parse_profile
from orchestrator.sweep import parse

SWEEP = """
name: s
problem: {dataset: digits, n_train: 10}
eta: {values: [1]}
stop: {epsilon: 0.1}
"""

MOUNTS = [
    ("/", "ext4"),
    ("/home", "nfs4"),
    ("/scratch", "lustre"),
    ("/scratch/of mine", "tmpfs"),
    ("/data", "fuse.sshfs"),
    ("/twice", "ext4"),
    ("/twice", "beegfs"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    prepare(run, parse(SWEEP))
    return run


@pytest.mark.parametrize(
    ("path", "kind", "shared"),
    [
        ("/etc", "ext4", False),
        ("/home/me", "nfs4", True),
        ("/homes", "ext4", False),
        ("/scratch/x", "lustre", True),
        ("/scratch/of mine/x", "tmpfs", False),
        ("/data", "fuse.sshfs", True),
        ("/twice/a", "beegfs", True),
    ],
)
def test_the_file_system_of_a_path(
    monkeypatch: pytest.MonkeyPatch, path: str, kind: str, shared: bool
) -> None:
    def mounted(*, all: bool) -> list[SimpleNamespace]:
        assert all
        return [SimpleNamespace(mountpoint=point, fstype=fstype) for point, fstype in MOUNTS]

    monkeypatch.setattr("psutil.disk_partitions", mounted)
    assert file_system(Path(path)) == kind
    assert is_shared(kind) is shared


def test_a_container_on_fuse_is_local() -> None:
    assert not is_shared("fuse.fuse-overlayfs")
    assert is_shared("fuse")


def test_this_machine_is_fit(run: Path) -> None:
    assert check_node(run, "/tmp", "lo", versions()) == []


def test_other_versions_are_named(run: Path) -> None:
    (problem,) = check_node(run, "/tmp", None, {**versions(), "ray": "1.0"})
    assert problem == f"ray is {versions()['ray']}; it must be 1.0, as where it was launched"


def test_a_run_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    (problem,) = check_node(tmp_path / "no")
    assert f"run directory {tmp_path / 'no'} cannot be read here" in problem


def test_a_dataset_that_is_not_there_is_named(run: Path) -> None:
    text = (run / "sweep.yaml").read_text()
    (run / "sweep.yaml").write_text(text.replace("n_train: 10", "n_train: 9999"))
    assert check_node(run) == [
        "n_train is 9999; it must be at most 1297 for dataset digits, "
        "whose other 500 samples are the test set"
    ]


def test_a_temp_root_must_be_short_local_and_there(tmp_path: Path) -> None:
    assert temp_root_problems("/tmp") == []
    assert "such as /tmp" in temp_root_problems("/" + "x" * 60)[0]
    assert temp_root_problems("/no-such") == [
        "temp root /no-such is no folder here; it must be one, such as /tmp"
    ]
    assert "temp root /proc must be writable" in temp_root_problems("/proc")[0]


def test_an_interface_must_be_there() -> None:
    assert interface_problems("lo") == []
    (problem,) = interface_problems("ib9")
    assert problem.startswith("interface is 'ib9'; it must be one of lo")


def test_nothing_is_left_behind(run: Path) -> None:
    before = sorted(run.iterdir())
    check_node(run, "/tmp", None, versions())
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (600.0, "node n1: its clock is 600 s ahead of that of the file server"),
        (-600.0, "node n1: its clock is 600 s behind that of the file server"),
        (0.0, None),
    ],
)
def test_a_wrong_clock_is_reported_in_seconds_and_stops_no_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, skew: float, said: str | None
) -> None:
    true_time = time.time

    def on_the_node(command: list[str], seconds: float) -> tuple[int, str, str]:
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: true_time() + skew)
            answer = node_check._answer(run, "n1")
        lines = (preflight._STARTED + "n1", node_check.SIGN + json.dumps(answer.to_json()))
        return 0, "".join(f"0: {line}\n" for line in lines), ""

    monkeypatch.setattr(preflight, "_run", on_the_node)
    found = preflight.preflight(run, parse_profile("cpus_per_node: 1"))
    assert (found.nodes, found.problems) == (("n1",), ())
    assert [warning.partition(";")[0] for warning in found.warnings] == ([said] if said else [])


def test_nodes_measure_what_they_are_asked_to_and_say_why_they_cannot(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = DeviceSpeed(1e-6, {"float32": 1e11, "float64": 5e10}, 4e10)
    measured = Calibration(BatchBounds(7, 3), speed)

    def calibrated(kind: str) -> Calibration:
        if kind == "cuda":
            raise calibration.CalibrationError("no such GPU")
        return measured

    def on_the_node(command: list[str], seconds: float) -> tuple[int, str, str]:
        line = node_check.SIGN + json.dumps(node_check._answer(run, "n1").to_json())
        return 0, f"0: {preflight._STARTED}n1\n0: {line}\n", ""

    monkeypatch.setattr(preflight, "_run", on_the_node)
    monkeypatch.setattr(calibration, "calibrated", calibrated)
    monkeypatch.setattr(calibration, "device_name", lambda kind: f"a {kind}")
    profile = parse_profile("cpus_per_node: 1")
    assert preflight.preflight(run, profile).devices == ()
    found = preflight.preflight(run, profile, kinds=("cpu", "cuda"))
    assert found.problems == ()
    assert found.devices == (
        MeasuredDevice("cpu", "a cpu", measured),
        MeasuredDevice("cuda", "a cuda", None, "no such GPU"),
    )


def test_gpus_are_tried_where_trials_ask_for_them_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def broken(least: int | None) -> list[str]:
        asked.append(least)
        return ["GPU 1 cannot compute: uncorrectable ECC error encountered"]

    monkeypatch.setattr("orchestrator.slurm.node_check.device_problems", broken)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    for name, resources, problems in (
        ("cpus", "", []),
        ("gpus", "resources: {gpus_per_worker: 1}", broken(2)),
    ):
        prepare(tmp_path / name, parse(SWEEP + resources))
        assert check_node(tmp_path / name) == problems
    assert asked == [2, 2]
