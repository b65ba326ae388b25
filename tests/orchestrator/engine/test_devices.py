"""Where a sweep leaves it open, a trial gets a GPU where the run has one and that pays."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from jobs.batch_bounds import BatchBounds
from orchestrator.cluster import here
from orchestrator.engine import devices
from orchestrator.engine.devices import pays_by, with_devices
from orchestrator.sweep import Resources

PAYS_FROM = 4 * 6 * 8


@pytest.fixture
def given(column):
    """The GPUs that columns of these sizes and resources get per worker."""

    def given(gpus, *, pays_from=PAYS_FROM, resources=None, **problem):
        columns = [
            dataclasses.replace(
                column,
                problem=dataclasses.replace(column.problem, **problem),
                resources=resources or Resources(),
            )
        ]
        bounds = {"cuda": BatchBounds(0, 0, pays_from=pays_from)}
        allocation = dataclasses.replace(here({}), gpus=gpus)
        (found,) = with_devices(columns, allocation, pays_by(bounds))
        assert found.column_id == columns[0].column_id
        return found.resources.gpus_per_worker

    return given


def test_what_is_large_enough_gets_a_gpu_and_what_is_small_none(given):
    assert given(2, n_train=1000, width=64) == 1
    assert given(2, pays_from=10**6 * 1000 * 8) is None
    assert given(2, architecture="cnn", dataset="mnist-mini", pays_from=10**12) == 1


def test_without_a_gpu_or_where_it_cannot_be_measured_all_is_computed_by_cores(given):
    assert given(0) is None
    assert given(2, pays_from=None) is None


@pytest.mark.parametrize("gpus_per_worker", [0, 0.5, 1])
def test_what_the_sweep_says_stays(given, gpus_per_worker):
    resources = Resources(gpus_per_worker=gpus_per_worker)
    assert given(2, resources=resources, n_train=1000) == gpus_per_worker


def test_trials_of_several_workers_stay_on_cores(given):
    assert given(2, resources=Resources(workers=2), n_train=1000) is None


@pytest.mark.parametrize("hidden", [True, False])
def test_outside_of_a_job_the_driver_is_asked_how_many_there_are(
    column, monkeypatch, tmp_path, hidden
):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: one'\necho 'GPU 1: another'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert shutil.which("nvidia-smi") == str(tool)
    allocation = dataclasses.replace(here({}), gpus=None)
    assert devices._gpus(allocation) == (0 if hidden else 2)


def test_nothing_is_measured_where_no_column_leaves_it_open(column):
    class Dear(dict):
        def __getitem__(self, kind):
            raise AssertionError(f"{kind} was measured")

    fixed = dataclasses.replace(column, resources=Resources(gpus_per_worker=0))
    allocation = dataclasses.replace(here({}), gpus=4)
    assert with_devices([fixed], allocation, pays_by(Dear())) == (fixed,)
    without = dataclasses.replace(allocation, gpus=0)
    assert with_devices([column], without, pays_by(Dear())) == (column,)
