"""What decides on batches is measured once on a machine, and kept in each run directory."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import threading
from pathlib import Path

import pytest

from jobs.batch_bounds import MEASURED_ONCE, BatchBounds
from jobs.device_speed import Calibration, DeviceSpeed
from orchestrator.engine import calibration
from orchestrator.engine.calibration import RunBounds, calibrated, keep, kept

MEASURED = BatchBounds(most_bytes=7000, tiny_bytes=300)
SPEED = DeviceSpeed(launch=1e-6, flops={"float32": 1e11, "float64": 5e10}, nbytes=4e10)
CALIBRATION = Calibration(MEASURED, SPEED)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch) -> list[list[str]]:
    """A data root of its own, and a calibration that only says :data:`MEASURED`."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("EOS_DATA", str(tmp_path / "data"))
    seen: list[list[str]] = []

    def run(arguments, **_):
        seen.append(arguments)
        text = "a line before\n" + json.dumps(CALIBRATION.to_json()) + "\n"
        return subprocess.CompletedProcess(arguments, 0, text, "")

    monkeypatch.setattr(calibration.subprocess, "run", run)
    return seen


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    return folders


def test_a_machine_is_measured_once_and_every_run_directory_keeps_it(calls, runs) -> None:
    for run in runs:
        assert RunBounds(run, print)["cpu"] == MEASURED
        assert RunBounds(run, print)["cpu"] == MEASURED
        assert json.loads((run / "batching.cpu.json").read_text())["most_bytes"] == 7000
    assert [arguments[-1] for arguments in calls] == ["cpu"]


def test_what_a_run_directory_began_with_stays_on_any_machine(calls, runs) -> None:
    kept = BatchBounds(1, 1)
    (runs[0] / "batching.cpu.json").write_text(json.dumps(dataclasses.asdict(kept)))
    assert RunBounds(runs[0], print)["cpu"] == kept
    assert calls == []


def test_of_runs_that_begin_at_once_the_first_one_decides(calls, runs, monkeypatch) -> None:
    other = BatchBounds(2, 2)

    def meanwhile(kind):
        (runs[0] / "batching.cpu.json").write_text(json.dumps(dataclasses.asdict(other)))
        return CALIBRATION

    monkeypatch.setattr(calibration, "calibrated", meanwhile)
    assert RunBounds(runs[0], print)["cpu"] == other


def test_each_kind_of_device_is_measured_when_it_is_asked_for(calls, runs) -> None:
    bounds = RunBounds(runs[0], print)
    assert dict(bounds) == {}
    assert (bounds["cpu"], bounds["cuda"]) == (MEASURED, MEASURED)
    assert bounds["cpu"] == MEASURED
    assert len(calls) == 3  # with the name of the card
    assert {arguments[-1] for arguments in calls if "jobs.calibration" in arguments} == {
        "cpu",
        "cuda",
    }


def test_what_is_expected_is_measured_meanwhile_and_once(calls, runs, monkeypatch):
    may_end = threading.Event()

    def wait(kind):
        assert may_end.wait(20)
        calls.append([kind])
        return CALIBRATION

    monkeypatch.setattr(calibration, "calibrated", wait)
    bounds = RunBounds(runs[0], print)
    bounds.expect("cpu")
    bounds.expect("cpu")
    assert calls == []
    may_end.set()
    assert (bounds["cpu"], bounds["cpu"]) == (MEASURED, MEASURED)
    assert calls == [["cpu"]]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_machine_that_cannot_be_measured_has_the_default_and_says_why(
    calls, runs, monkeypatch, kind
) -> None:
    def fail(arguments, **_):
        raise subprocess.CalledProcessError(
            1, arguments, "", "Traceback\nValueError: no such GPU\n"
        )

    monkeypatch.setattr(calibration.subprocess, "run", fail)
    told: list[str] = []
    expected = MEASURED_ONCE if kind == "cpu" else BatchBounds(0, 0)
    assert RunBounds(runs[0], told.append)[kind] == expected
    assert told == [
        "batches could not be measured on this machine (ValueError: no such GPU); the default is "
        "taken"
    ]
    assert not (runs[0].parent / "data" / "calibration").exists()


def test_a_damaged_file_is_measured_again(calls, runs) -> None:
    assert RunBounds(runs[0], print)["cpu"] == MEASURED
    (kept,) = (runs[0].parent / "data" / "calibration").iterdir()
    for damaged in ("{", json.dumps(dataclasses.asdict(MEASURED))):
        kept.write_text(damaged)
        assert calibrated("cpu") == CALIBRATION
        assert json.loads(kept.read_text()) == CALIBRATION.to_json()
    assert len(calls) == 3


def test_no_data_root_is_made_for_it(calls, runs) -> None:
    (runs[0].parent / "data").rmdir()
    for run in runs:
        assert RunBounds(run, print)["cpu"] == MEASURED
        assert (run / "batching.cpu.json").exists()
    assert len(calls) == 2
    assert not (runs[0].parent / "data").exists()


def test_what_was_measured_elsewhere_is_kept_by_the_name_of_the_device(calls, runs) -> None:
    (runs[0].parent / "data").rmdir()
    assert kept("cuda", "NVIDIA H200") is None
    keep("cuda", "NVIDIA H200", CALIBRATION)
    assert kept("cuda", "NVIDIA H200") == CALIBRATION
    assert (kept("cpu", "NVIDIA H200"), kept("cuda", "NVIDIA H100")) == (None, None)
    assert calls == []
