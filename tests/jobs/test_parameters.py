import math

import pytest
import torch

from jobs import models
from jobs.curvature.hessian import Hessian
from jobs.curvature.sharpness import sharpness_at
from jobs.datasets import Shape
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.parameters import Layout, all_norms, l1_norm, l2_norm, linf_norm


def test_norms_by_hand():
    theta = torch.tensor([3.0, -4.0, 0.0])
    assert l1_norm(theta) == 7
    assert l2_norm(theta) == 5
    assert linf_norm(theta) == 4


def test_norms_tensor_by_tensor_by_hand():
    layout = Layout(names=("weight", "bias"), shapes=((2, 2), (1,)))
    found = all_norms(layout, torch.tensor([2.0, -4.0, 4.0, 0.0, -8.0]))
    assert found == [
        ("l1_norm", None, 18.0),
        ("l2_norm", None, 10.0),
        ("linf_norm", None, 8.0),
        ("l1_norm", "weight", 10.0),
        ("l2_norm", "weight", 6.0),
        ("linf_norm", "weight", 4.0),
        ("l1_norm", "bias", 8.0),
        ("l2_norm", "bias", 8.0),
        ("linf_norm", "bias", 8.0),
    ]


def test_norms_of_float32_are_summed_in_float64():
    # 2²⁴ + 1 is no float32: a float32 sum of these would stay at 2²⁴.
    theta = torch.cat([torch.tensor([2.0**24]), torch.ones(1000)])
    assert l1_norm(theta) == 2**24 + 1000
    assert l2_norm(torch.full((3,), 1e30)) == pytest.approx(1e30 * math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sharpness_of_the_linear_model_is_that_of_its_inputs(linear_model, problem, dtype):
    network = models.build(problem(depth=0), Shape((64,), 10))
    labels = linear_model.objective.labels
    for changed in (labels, labels.flip(0), torch.zeros_like(labels)):
        inputs = linear_model.objective.inputs.to(dtype)
        objective = Objective(network, linear_model.layout, LOSS_SUMS["mse"], inputs, changed)
        generator = torch.Generator().manual_seed(3)
        theta = torch.randn(650, generator=generator, dtype=torch.float64).to(dtype)
        found = sharpness_at(objective, theta, rtol=1e-5)
        assert found.converged
        # The residual bounds the error; float32 products add some 1e-6.
        assert found.sharpness == pytest.approx(linear_model.sharpness, rel=1e-5)
        # X̃ᵀX̃ is 65×65 and of rank 40 at most: H is singular, and never negative.
        assert abs(found.lambda_min) <= 2e-5 * found.sharpness


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_both_ends_are_those_of_the_dense_hessian(random_objective, activation, loss):
    objective, theta = random_objective(activation=activation, loss=loss, depth=2)
    hessian = Hessian(objective, theta)
    identity = torch.eye(theta.numel(), dtype=torch.float64)
    dense = torch.stack([hessian @ column for column in identity])
    truth = torch.linalg.eigvalsh((dense + dense.T) / 2)
    found = sharpness_at(objective, theta, rtol=1e-9)
    assert found.converged
    assert found.lambda_max == pytest.approx(float(truth[-1]), abs=1e-9 * found.sharpness)
    assert found.lambda_min == pytest.approx(float(truth[0]), abs=1e-9 * found.sharpness)
    assert found.lambda_min < 0 < found.lambda_max


def test_a_dead_relu_network_has_sharpness_one(random_objective):
    # ½‖b − y‖² in the last bias b, and nothing else.
    objective, theta = random_objective(activation="relu", depth=1)
    objective.layout.split(theta)[1].fill_(-100.0)
    found = sharpness_at(objective, theta, rtol=1e-6)
    assert found.converged
    assert found.sharpness == pytest.approx(1, rel=1e-9)
    assert found.products <= 3


def test_a_measurement_depends_on_theta_alone(random_objective):
    objective, theta = random_objective(depth=2)
    first = sharpness_at(objective, theta, rtol=1e-3)
    sharpness_at(objective, theta + 1, rtol=1e-3)
    torch.randn(5)
    assert sharpness_at(objective, theta, rtol=1e-3) == first
