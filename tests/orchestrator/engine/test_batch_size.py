"""Which trials are batched: that depends on the trial and its resources."""

from __future__ import annotations

import dataclasses

import pytest

from jobs import Problem
from jobs.batch_bounds import BatchBounds
from jobs.problem import parameter_count, pose, working_memory
from orchestrator.engine.capacity import BATCHED, batch_size
from orchestrator.plan import Batching
from orchestrator.sweep import Resources

GIB = 2**30


def _gd(column, **changes):
    return dataclasses.replace(column, problem=dataclasses.replace(column.problem, **changes)).at(
        0.1
    )


def test_the_smallest_networks_go_in_batches_of_64_and_small_ones_in_batches_of_16(column):
    assert batch_size(_gd(column), Resources(), 8 * GIB) == 64
    assert batch_size(_gd(column, n_train=1000), Resources(), 8 * GIB) == 16


def test_large_networks_and_flows_go_by_themselves(column):
    large = _gd(column, n_train=1000, width=128, depth=2)
    assert parameter_count(large.problem) * 1000 * 4 > 16e6
    assert batch_size(large, Resources(), 64 * GIB) == 0
    assert batch_size(column.flow(), Resources(), 8 * GIB) == 0


def test_a_bound_on_batches_batches_nothing_that_runs_by_itself(column):
    one = Batching(most_trials=1)
    assert batch_size(_gd(column), Resources(), 8 * GIB, one) == 1
    assert batch_size(_gd(column), Resources(), 8 * GIB, Batching(most_trials=100)) == 64
    assert batch_size(column.flow(), Resources(), 8 * GIB, one) == 0


def test_trials_on_a_whole_gpu_go_in_batches_as_that_was_measured_on_one(column):
    large = _gd(column, n_train=1000, width=128, depth=2)
    bounds = {"cuda": BatchBounds(most_bytes=10**9, tiny_bytes=0, memory=80 * GIB)}
    on_gpu, batching = Resources(gpus_per_worker=1, cpus_per_worker=4), Batching(bounds=bounds)
    assert batch_size(large, on_gpu, None, batching) == 16
    assert batch_size(large, on_gpu, None, Batching()) == 0
    assert batch_size(large, Resources(), None, batching) == 0
    assert batch_size(large, Resources(gpus_per_worker=0.5), None, batching) == 0
    needed = working_memory(large.problem)
    few = {"cuda": BatchBounds(most_bytes=10**9, tiny_bytes=0, memory=3 * needed)}
    assert batch_size(large, on_gpu, None, Batching(bounds=few)) == 3


@pytest.mark.parametrize(
    "changed", [{"workers": 2}, {"cpus_per_worker": 2}, {"gpus_per_worker": 1}]
)
def test_trials_that_occupy_more_than_a_cpu_go_by_themselves(column, changed):
    assert batch_size(_gd(column), Resources(**changed), 8 * GIB) == 0


def test_flows_go_in_batches_on_a_gpu(column):
    bounds = {kind: BatchBounds(10**12, 0, memory=8 * GIB) for kind in ("cpu", "cuda")}
    batching = Batching(bounds=bounds)
    assert batch_size(column.flow(), Resources(gpus_per_worker=1), None, batching) == 16
    assert batch_size(column.flow(), Resources(), None, batching) == 0


def test_bounds_are_asked_for_only_where_something_depends_on_them(column):
    class Dear(dict):
        def get(self, kind):
            raise AssertionError(f"they were asked for on {kind}")

    dear = Batching(bounds=Dear())
    for trial, resources in (
        (column.flow(), Resources()),
        (_gd(column, architecture="cnn"), Resources()),
        (_gd(column), Resources(workers=2)),
    ):
        assert batch_size(trial, resources, 8 * GIB, dear) == 0


@pytest.mark.parametrize("architecture", BATCHED)
@pytest.mark.parametrize("loss", ["mse", "mse_mean", "ce"])
def test_what_is_batched_is_computed_by_formulas_whose_bits_do_not_depend_on_it(architecture, loss):
    data = {"dataset": "digits", "n_train": 8}
    if architecture != "fcn":
        data, loss = {"dataset": "point(x=[2, 1], truth=[1, 1])", "n_train": 1}, "mse"
    problem = Problem(architecture=architecture, loss=loss, depth=2, **data)
    assert pose(problem)[0].closed_form is not None


def test_memory_bounds_the_size_of_a_batch_but_not_whether_there_is_one(column):
    needed = working_memory(_gd(column).problem)
    for runs in (1, 5):
        assert batch_size(_gd(column), Resources(), runs * needed + 1) == runs
    assert batch_size(_gd(column), Resources(), needed // 10) == 1


def test_a_dataset_that_is_too_small_is_left_to_the_trial_to_complain_about(column):
    assert Problem(dataset="digits", n_train=5000)
    assert batch_size(_gd(column, n_train=5000), Resources(), 8 * GIB) == 0


@pytest.mark.parametrize("architecture", ["cnn", "resnet", "vit"])
def test_networks_for_which_nothing_was_measured_go_by_themselves(column, architecture):
    assert batch_size(_gd(column, architecture=architecture), Resources(), 8 * GIB) == 0


def test_a_network_that_cannot_be_is_left_to_the_trial_to_complain_about(column):
    too_deep = {"architecture": "cnn", "depth": 9}
    assert batch_size(_gd(column, **too_deep), Resources(), 8 * GIB) == 0
