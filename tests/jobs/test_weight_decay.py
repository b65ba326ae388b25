"""Weight decay: ½ λ ‖θ‖² is part of the loss, of its gradient and of its Hessian, and of no test
loss; without it names and numbers are those of before.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jobs import Hessian, OngoingTrial, Problem, SpecError
from jobs.curvature.hessian import BatchedHessian
from jobs.ongoing import advance
from jobs.problem import pose
from jobs.spec import Protocol, Trial

DECAY = 0.3
NETWORKS = {
    "formulas": {"dataset": "digits", "width": 6, "depth": 1, "activation": "tanh"},
    "autograd": {"dataset": "digits", "architecture": "cnn", "width": 2, "depth": 1},
    "mup": {"dataset": "digits", "width": 6, "depth": 1, "parameterization": "mup"}
    | {"base_width": 3, "activation": "tanh"},
}


def problem(name, decay):
    return Problem(n_train=20, loss="ce", dtype="float64", weight_decay=decay, **NETWORKS[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_gradient_and_products_are_those_of_the_sum(name):
    with_decay, test, theta = pose(problem(name, DECAY))
    plain, plain_test, _ = pose(problem(name, None))
    loss, gradient = with_decay.gradient(theta)
    expected, expected_gradient = plain.gradient(theta)
    penalty = DECAY / 2 * float(theta.square().sum())
    assert loss == pytest.approx(expected + penalty, rel=1e-12)
    assert torch.allclose(gradient, expected_gradient + DECAY * theta, rtol=1e-12)
    evaluated = with_decay.evaluate(theta)
    assert (evaluated.loss, evaluated.data_loss) == pytest.approx((loss, expected), rel=1e-12)
    assert test.evaluate(theta) == plain_test.evaluate(theta)
    vectors = torch.stack([theta, gradient])
    for one, other in (
        (Hessian(with_decay, theta), Hessian(plain, theta)),
        (_batched(with_decay, theta), _batched(plain, theta)),
    ):
        products = other.products(vectors) + DECAY * vectors
        assert torch.allclose(one.products(vectors), products, rtol=1e-11, atol=1e-14)
    assert with_decay.stacked_losses(theta[None]).tolist() == pytest.approx([loss], rel=1e-12)


class _batched:  # noqa: N801 (made like a Hessian)
    """The batched operator at one point, for vectors of one."""

    def __init__(self, objective, theta):
        self._hessian = BatchedHessian(objective, torch.stack([theta, 2 * theta]))

    def products(self, vectors):
        return self._hessian.products(torch.stack([vectors, vectors]))[0]


def ridge(decay):
    """The linear model of two samples with two features and a bias, whose minimum is known."""
    return Problem(
        dataset="points(x=[[2, 1], [1, 3]], truth=[0.5, 0.5])",
        n_train=2,
        width=1,
        depth=0,
        dtype="float64",
        weight_decay=decay,
    )


def test_the_rows_of_a_linear_model_are_those_of_ridge_regression():
    """GD goes to (A + λ)⁻¹ b; S is that of A plus λ, and stored without it."""
    protocol = Protocol(epsilons=(1e-9,), max_steps=3000)
    trial = Trial(problem=ridge(DECAY), protocol=protocol, kind="gd", learning_rate=0.1)
    run = OngoingTrial(trial, threads=1)
    inputs = torch.cat([run.objective.inputs, torch.ones(2, 1, dtype=torch.float64)], dim=1)
    labels = run.objective.labels[:, 0]
    run.advance()
    (row,) = run.result().crossings
    matrix, right = inputs.T @ inputs / 2, inputs.T @ labels / 2
    minimum = torch.linalg.solve(matrix + DECAY * torch.eye(3, dtype=torch.float64), right)
    assert torch.allclose(run.at.theta, minimum, rtol=1e-9)
    data = float((inputs @ minimum - labels).square().mean() / 2)
    assert row.data_loss == pytest.approx(data, rel=1e-9)
    penalty = DECAY / 2 * float(minimum.square().sum())
    assert row.train_loss == pytest.approx(data + penalty, rel=1e-9)
    largest = float(torch.linalg.eigvalsh(matrix)[-1])
    assert row.data_sharpness == pytest.approx(largest, rel=1e-6)
    assert row.sharpness == pytest.approx(largest + DECAY, rel=1e-6)
    assert row.lambda_min == pytest.approx(DECAY, rel=1e-3)


def test_without_weight_decay_both_are_those_of_the_data():
    protocol = Protocol(epsilons=(0.01,), max_steps=300)
    trial = Trial(problem=ridge(None), protocol=protocol, kind="gd", learning_rate=0.1)
    run = OngoingTrial(trial, threads=1)
    run.advance()
    (row,) = run.result().crossings
    assert row.data_sharpness == row.sharpness
    assert row.data_loss == pytest.approx(row.train_loss, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_bit_depends_on_companions(dtype):
    base = problem("formulas", DECAY)
    protocol = Protocol(epsilons=(1.0,), max_steps=60)

    def trials():
        posed = dataclasses.replace(base, dtype=dtype, width=7)
        return [
            OngoingTrial(
                Trial(problem=posed, protocol=protocol, kind="gd", learning_rate=eta), threads=1
            )
            for eta in (0.05, 0.1, 0.3, 0.5, 1.0)
        ]

    together, alone = trials(), trials()
    advance(together)
    for one in alone:
        one.advance()
    assert [one.result() for one in together] == [one.result() for one in alone]


def test_no_weight_decay_is_0_and_keeps_the_earlier_names():
    plain = Problem(dataset="digits", n_train=20)
    assert Problem(dataset="digits", n_train=20, weight_decay=0) == plain
    protocol = Protocol(epsilons=(0.1,))

    def name(posed):
        return Trial(problem=posed, protocol=protocol, kind="gd", learning_rate=0.1).trial_id

    names = {name(dataclasses.replace(plain, weight_decay=decay)) for decay in (None, 0.1, 0.2)}
    assert len(names) == 3


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "a", True])
def test_it_must_be_a_number_of_at_least_0(value):
    with pytest.raises(SpecError, match=r"^weight_decay is "):
        Problem(dataset="digits", n_train=20, weight_decay=value)
