"""Up to which size batches pay: a rule by size, measured on the device at hand."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from jobs import calibration
from jobs.batch_bounds import BatchBounds
from jobs.calibration import NETWORKS, batch_bounds
from jobs.device_speed import Calibration


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("float64", 8)])
def test_the_size_of_a_problem_is_parameters_times_samples_times_bytes(dtype, width) -> None:
    bounds = BatchBounds(most_bytes=1600, tiny_bytes=160)
    assert bounds.most_trials(10, 16 // width, dtype) == 64
    assert bounds.most_trials(10, 16 // width + 1, dtype) == 16
    assert bounds.most_trials(10, 160 // width, dtype) == 16
    assert bounds.most_trials(10, 160 // width + 1, dtype) == 0


def _sizes() -> list[int]:
    sizes = []
    for samples, features, width, depth in NETWORKS:
        layers = [features, *[width] * depth, 10]
        parameters = sum((i + 1) * o for i, o in itertools.pairwise(layers))
        sizes.append(4 * parameters * samples)
    return sizes


def test_the_networks_go_from_small_to_large_up_to_what_one_gpu_can_batch() -> None:
    assert _sizes() == sorted(_sizes())
    assert _sizes()[-1] >= 4 * 5e9


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([(1, 0.2, 0.1), (1, 0.5, 0.5), (1, 0.89, 9), (1, 0.95, 9), (1, 0.95, 9)], (2, 0)),
        ([(1, 0.2, 0.1), (1, 0.5, 0.4), (1, 0.5, 0.46), (1, 1, 1), (1, 1, 1)], (2, 1)),
        ([(1, 0.95, 0.1), (1, 0.95, 0.1)], (None, None)),
        ([(1, 2.0, 0.1), (1, 0.2, 0.1), (1, 1, 1), (1, 0.5, 0.4), (1, 1, 1), (1, 1, 1)], (3, 3)),
        ([(1, 0.1, 0.05)] * len(NETWORKS), (len(NETWORKS) - 1, len(NETWORKS) - 1)),
    ],
)
def test_the_bounds_are_the_last_sizes_at_which_a_tenth_is_saved_before_two_that_do_not(
    monkeypatch, times, expected
) -> None:
    measured = iter(times)
    monkeypatch.setattr(calibration, "_seconds_per_trial", lambda *_, **__: next(measured))
    most, tiny = (0 if number is None else _sizes()[number] for number in expected)
    assert batch_bounds("cpu") == BatchBounds(most, tiny)


def test_what_is_measured_is_a_pair_of_sizes_that_were_tried_and_the_time_is_bounded() -> None:
    """Run as the product runs it. Which sizes these are is for the machine to say, not for a test:
    with enough beside it, no batch pays."""
    ended = subprocess.run(
        [sys.executable, "-m", "jobs.calibration", "cpu"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    bounds = Calibration.from_json(json.loads(ended.stdout)).bounds
    assert bounds.most_bytes >= bounds.tiny_bytes
    assert {bounds.most_bytes, bounds.tiny_bytes} <= {0, *_sizes()}
    assert bounds.memory is None
