"""What a gradient takes by the speed of a device, and that speed as it is measured here."""

from __future__ import annotations

import json

import pytest

from jobs import Problem
from jobs.batch_bounds import BatchBounds
from jobs.calibration import device_speed
from jobs.device_speed import LAUNCHES_PER_LAYER, PASSES, TIMES_FLOOR, Calibration, DeviceSpeed
from jobs.multiplications import multiplications

SPEED = DeviceSpeed(launch=1e-6, flops={"float32": 1e11, "float64": 5e10}, nbytes=4e10)
FCN = {"dataset": "digits", "n_train": 100, "width": 20, "depth": 2}


@pytest.mark.parametrize(("dtype", "width", "rate"), [("float32", 4, 1e11), ("float64", 8, 5e10)])
@pytest.mark.parametrize("together", [1, 16])
def test_a_gradient_takes_its_products_its_traffic_and_its_share_of_the_launches(
    dtype, width, rate, together
) -> None:
    """64 × 20 + 20 × 20 + 20 × 10 multiplications for a sample, 20 + 20 + 10 activations."""
    found = SPEED.seconds_per_gradient(Problem(**FCN, dtype=dtype), together)
    products = 6 * 1880 * 100 / rate
    traffic = PASSES * 50 * 100 * width / 4e10
    launches = 3 * LAUNCHES_PER_LAYER * 1e-6 / together
    assert found == pytest.approx(products + traffic + launches, rel=1e-12)


@pytest.mark.parametrize(
    ("network", "layers"),
    [({"architecture": "diagonal", "depth": 3}, 3), ({"architecture": "diagonal-difference"}, 3)],
)
def test_a_diagonal_network_has_a_layer_for_each_of_its_powers(network, layers) -> None:
    problem = Problem(dataset="point(x=[2, 1], truth=[0.5, 0.5])", n_train=1, **network)
    launches = layers * LAUNCHES_PER_LAYER * 1e-6
    assert SPEED.seconds_per_gradient(problem) == pytest.approx(launches, rel=0.01)


def test_other_networks_take_several_times_what_their_products_would() -> None:
    problem = Problem(dataset="mnist-mini", n_train=100, architecture="cnn", width=4, depth=1)
    floor = 6 * multiplications(problem) * 100 / 1e11
    assert SPEED.seconds_per_gradient(problem, 8) == pytest.approx(TIMES_FLOOR * floor, rel=1e-12)


def test_a_calibration_is_read_back_as_it_was_written() -> None:
    calibration = Calibration(BatchBounds(7000, 300, memory=2**30, pays_from=5), SPEED)
    text = json.dumps(calibration.to_json())
    assert Calibration.from_json(json.loads(text)) == calibration
    for damaged in ({}, {"bounds": {"most_bytes": 1}, "speed": {}}, {"bounds": 3, "speed": 4}):
        with pytest.raises((KeyError, TypeError)):
            Calibration.from_json(damaged)


def test_the_speed_measured_here_is_that_of_a_computer() -> None:
    """Of the last thirty years, and of the next ten."""
    found = device_speed("cpu", matrix=128, copied=2**18)
    assert 1e-9 < found.launch < 1e-3
    assert set(found.flops) == {"float32", "float64"}
    assert all(1e7 < rate < 1e14 for rate in found.flops.values())
    assert 1e7 < found.nbytes < 1e14
