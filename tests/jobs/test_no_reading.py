"""Between two readings of the losses no number leaves the device, so that a GPU is never waited for
and a step can be captured.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.curvature.hessian import BatchedHessian, Hessian
from jobs.dynamics import descent
from jobs.dynamics.moves import corrects, first_moments
from jobs.problem import pose
from jobs.spec import OPTIMIZERS, Optimizer, Problem

READING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"}
NETWORKS = {
    "fcn": {"dataset": "digits", "width": 6, "depth": 2},
    "diagonal": {
        "dataset": "point(x=[2, 1], truth=[1, 1])",
        "n_train": 1,
        "architecture": "diagonal",
        "depth": 2,
    },
    "cnn": {"dataset": "digits", "architecture": "cnn", "width": 3, "depth": 2},
    "resnet": {"dataset": "digits", "architecture": "resnet", "width": 8, "depth": 1},
    "vit": {"dataset": "digits", "architecture": "vit", "width": 8, "depth": 1},
}
CLASSIFIERS = [name for name in NETWORKS if name != "diagonal"]


class NoReading(TorchDispatchMode):
    """Refuses operations that give the host a number or a shape that depends on numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in READING, f"{func} makes the host wait for the device"
        return func(*args, **(kwargs or {}))


def test_a_number_that_leaves_the_device_is_seen():
    with NoReading(), pytest.raises(AssertionError, match="makes the host wait"):
        torch.ones(1).item()


@pytest.mark.parametrize(
    ("network", "loss"),
    [("diagonal", "mse"), *((name, loss) for name in CLASSIFIERS for loss in ("mse", "ce"))],
)
def test_steps_and_products_read_nothing(network, loss):
    problem = Problem(**{"n_train": 8, "loss": loss, **NETWORKS[network]})
    objective, _, theta = pose(problem)
    objective.gradient(theta)  # what happens once
    thetas = torch.stack([theta, 2 * theta])
    with NoReading():
        _, gradient = objective.stacked_gradients(theta[None])
        objective.stacked_gradients(theta - 0.1 * gradient)
        Hessian(objective, theta).products(thetas)
        _, gradients = objective.stacked_gradients(thetas)
        for name in OPTIMIZERS:
            optimizer = Optimizer(name=name)
            sizes = theta.new_full((3, 2, 2 if corrects(optimizer) else 1), 0.1)
            moments = first_moments(optimizer, thetas)
            descent._steps(objective, optimizer, 3, sizes, thetas, gradients, *moments)
        BatchedHessian(objective, thetas).products(thetas[:, None].contiguous())
