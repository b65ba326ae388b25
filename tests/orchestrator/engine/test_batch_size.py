"""Which trials are batched: that depends on the trial and its resources."""

from __future__ import annotations

import dataclasses

import pytest

from jobs import Problem
from jobs.problem import parameter_count, working_memory
from orchestrator.engine.capacity import batch_size
from orchestrator.plan import Batching
from orchestrator.sweep import Resources

GIB = 2**30


def _gd(column, **changes):
    return dataclasses.replace(column, problem=dataclasses.replace(column.problem, **changes)).gd(
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


@pytest.mark.parametrize(
    "changed", [{"workers": 2}, {"cpus_per_worker": 2}, {"gpus_per_worker": 1}]
)
def test_trials_that_occupy_more_than_a_cpu_go_by_themselves(column, changed):
    assert batch_size(_gd(column), Resources(**changed), 8 * GIB) == 0


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
