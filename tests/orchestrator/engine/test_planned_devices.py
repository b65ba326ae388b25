"""The devices of a plan: as measured, else as their makers say, else unknown."""

from __future__ import annotations

import dataclasses

import pytest

from jobs.batch_bounds import BatchBounds
from jobs.device_speed import Calibration, DeviceSpeed
from orchestrator.cluster import here
from orchestrator.engine.calibration import keep
from orchestrator.engine.planned_devices import PlannedDevices

SPEED = DeviceSpeed(launch=1e-6, flops={"float32": 1e13, "float64": 1e12}, nbytes=1e12)


@pytest.fixture(autouse=True)
def data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("EOS_DATA", str(tmp_path / "data"))


def of_size(column, width, n_train):
    return dataclasses.replace(
        column, problem=dataclasses.replace(column.problem, width=width, n_train=n_train)
    )


def on_gpus(devices, columns, gpus=4):
    allocation = dataclasses.replace(here({}), cpus=32, gpus=gpus)
    found = devices.columns(columns, allocation)
    assert [one.column_id for one in found] == [one.column_id for one in columns]
    return [one.resources.gpus_per_worker for one in found]


def test_what_was_measured_counts_more_than_what_the_maker_says() -> None:
    keep("cuda", "NVIDIA A100", Calibration(BatchBounds(5, 5, pays_from=7), SPEED))
    found = PlannedDevices.named({"cpu": None, "cuda": "NVIDIA A100"})
    assert found.speeds == {"cuda": SPEED}
    assert found.sources == {"cuda": "the speed measured of NVIDIA A100"}
    assert found.bounds["cuda"].pays_from == 7


def test_of_a_card_that_was_not_measured_the_maker_is_believed() -> None:
    found = PlannedDevices.named({"cpu": "A100", "cuda": "A100"})  # no CPU is in that table
    assert found.sources == {"cuda": "the speed of A100 by its maker"}
    assert found.bounds == {}


def test_of_others_nothing_is_known_and_nothing_is_put_on_them(column) -> None:
    found = PlannedDevices.named({"cpu": "X", "cuda": "Y"})
    assert found == PlannedDevices()
    assert on_gpus(found, [column]) == [None]


def test_a_measured_gpu_gets_what_a_run_would_give_it(column) -> None:
    keep("cuda", "Y", Calibration(BatchBounds(0, 0, pays_from=10**6), SPEED))
    columns = [of_size(column, 2, 4), of_size(column, 64, 1000)]
    found = PlannedDevices.named({"cuda": "Y"})
    assert on_gpus(found, columns) == [None, 1]
    assert on_gpus(found, columns, gpus=0) == [None, None]


def test_a_known_card_gets_what_it_computes_faster_than_its_share_of_the_cores(column) -> None:
    columns = [of_size(column, 2, 4), of_size(column, 1000, 1000)]
    assert on_gpus(PlannedDevices.named({"cuda": "H200"}), columns) == [None, 1]
    core = DeviceSpeed(1e-9, {"float32": 1e16, "float64": 1e16}, 1e16)
    keep("cpu", "Z", Calibration(BatchBounds(0, 0), core))
    fast = PlannedDevices.named({"cpu": "Z", "cuda": "H200"})
    assert on_gpus(fast, columns) == [None, None]
