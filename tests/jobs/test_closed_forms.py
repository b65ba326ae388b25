"""Problems small enough to know everything about: diagonal linear networks, logistic regression."""

import math

import pytest
import torch
from torch import nn

from jobs import Problem, models
from jobs.curvature.hessian import Hessian
from jobs.curvature.sharpness import sharpness_at
from jobs.datasets import Shape
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.golden import GOLDEN_RUNS, GOLDEN_S_GF
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.parameterization import initial_parameters
from jobs.parameters import Layout

X, TRUTH, Y, START = (2.0, 1.0), (0.5, 0.5), 1.5, 0.01


def _diagonal():
    """One point x = (2, 1) with the target y = 1.5 of β* = (½, ½), and w0 = 0.01·(1, 1)."""
    return _posed("diagonal", X, Y, init_scale=START)


def _posed(architecture, x, y, **changes):
    """The objective of one point with one target, and θ0."""
    changes = {"architecture": architecture, "dtype": "float64", **changes}
    problem, shape = Problem(dataset="any", n_train=1, **changes), Shape((len(x),), 1, "numbers")
    network = models.build(problem, shape)
    inputs, targets = (torch.tensor([of], dtype=torch.float64) for of in (x, [y]))
    objective = Objective(network, Layout.of(network), LOSS_SUMS["mse"], inputs, targets)
    theta = torch.full((Layout.of(network).size,), problem.init_scale, dtype=torch.float64)
    torch.testing.assert_close(initial_parameters(problem, shape), theta, rtol=1e-7, atol=0)
    return objective, theta


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize(("eta", "printed"), GOLDEN_RUNS.items())
def test_gd_on_a_diagonal_network_to_every_printed_digit(block, eta, printed):
    objective, theta = _diagonal()
    method, at, epsilon = GradientDescent(objective, eta, block=block), Iterate(theta), 1e-12
    while (at := at.evaluated(objective)).loss >= epsilon:
        at = method.move(at, Bounds(math.nextafter(epsilon, 0), 1e3, 2_000))
    theta, taken = at.theta, at.step
    found = sharpness_at(objective, theta, rtol=1e-10)
    assert taken == printed.steps
    assert found.sharpness == pytest.approx(printed.sharpness, abs=5.1e-5)
    assert found.sharpness * eta / 2 == pytest.approx(printed.edge_ratio, abs=5.1e-5)
    assert float(theta.abs().sum()) == pytest.approx(printed.l1_norm, abs=5.1e-5)
    assert float(theta.norm()) == pytest.approx(printed.l2_norm, abs=5.1e-5)
    error = theta.square() - torch.tensor(TRUTH, dtype=torch.float64)
    assert float(error @ error) == pytest.approx(printed.risk, abs=5.1e-5)


def _flow_end():
    """Where the flow ends: wᵢ² = wᵢ(0)² exp(4 xᵢ s), with s the root of ⟨β, x⟩ = y."""
    low, high = 0.0, 10.0
    for _ in range(200):
        s = (low + high) / 2
        beta = [START**2 * math.exp(4 * x * s) for x in X]
        low, high = (s, high) if sum(b * x for b, x in zip(beta, X, strict=True)) < Y else (low, s)
    return beta


@pytest.mark.parametrize("name", list(METHODS))
def test_the_flow_of_a_diagonal_network_ends_where_its_closed_form_does(name):
    objective, theta = _diagonal()
    method, at = METHODS[name](objective), Iterate(theta).evaluated(objective)
    while at.loss > 1e-10:
        if method.wants_sharpness:
            method.see_sharpness(sharpness_at(objective, at.theta, rtol=1e-6).sharpness)
        at = method.move(at, Bounds(1e-10, 1e3, 1))
    theta = at.theta
    beta = _flow_end()
    found = sharpness_at(objective, theta, rtol=1e-9)
    # On the manifold S = 4 Σ xᵢ² βᵢ.
    assert 4 * sum(b * x * x for b, x in zip(beta, X, strict=True)) == pytest.approx(
        GOLDEN_S_GF, abs=5.1e-5
    )
    assert found.sharpness == pytest.approx(GOLDEN_S_GF, rel=1e-3)
    # Steps of 1/S leave 3·10⁻⁴ of ‖β‖, with either method.
    assert theta.square().tolist() == pytest.approx(beta, abs=5e-4)


def test_the_hessian_of_a_diagonal_network_is_its_closed_form():
    objective, _ = _diagonal()
    w, x = torch.tensor([0.7, -0.4], dtype=torch.float64), torch.tensor(X, dtype=torch.float64)
    residual = float(x @ w.square()) - Y
    expected = 4 * torch.outer(x * w, x * w) + 2 * residual * torch.diag(x)
    found = Hessian(objective, w).products(torch.eye(2, dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_sharpness_on_the_zero_loss_manifold_is_its_closed_form(depth):
    # S = L² Σ xᵢ² βᵢ^(2−2/L) for β = w^L with ⟨β, x⟩ = y.
    x, beta = (2.0, 1.0, 0.5), (0.3, 0.2, 0.7)
    y = sum(b * a for b, a in zip(beta, x, strict=True))
    objective, _ = _posed("diagonal", x, y, depth=depth)
    theta = torch.tensor([b ** (1 / depth) for b in beta], dtype=torch.float64)
    expected = sum(a**2 * b ** (2 - 2 / depth) for a, b in zip(x, beta, strict=True))
    found = sharpness_at(objective, theta, rtol=1e-10)
    assert found.sharpness == pytest.approx(depth**2 * expected, rel=1e-9)


def test_the_sharpness_of_a_difference_of_diagonals_is_its_closed_form():
    # S = 4 Σ xᵢ² (uᵢ² + vᵢ²) for β = u∘u − v∘v with ⟨β, x⟩ = y.
    x, u, v = (2.0, -1.0), (0.6, 0.3), (0.2, 0.8)
    y = sum(a * (p**2 - q**2) for a, p, q in zip(x, u, v, strict=True))
    objective, _ = _posed("diagonal-difference", x, y)
    found = sharpness_at(objective, torch.tensor([*u, *v], dtype=torch.float64), rtol=1e-10)
    expected = 4 * sum(a**2 * (p**2 + q**2) for a, p, q in zip(x, u, v, strict=True))
    assert found.sharpness == pytest.approx(expected, rel=1e-9)


def test_the_hessian_of_multinomial_logistic_regression_is_its_closed_form():
    # H = 1/n Σ x̃x̃ᵀ ⊗ (diag p − ppᵀ), for weights and bias together.
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    labels, network = torch.arange(6) % 3, nn.Linear(4, 3)
    layout = Layout.of(network)
    theta = torch.randn(layout.size, generator=generator, dtype=torch.float64)
    weight, bias = layout.split(theta)
    extended = torch.cat([inputs, torch.ones(6, 1, dtype=torch.float64)], dim=1)
    expected = torch.zeros(15, 15, dtype=torch.float64)
    for row, outputs in zip(extended, inputs @ weight.T + bias, strict=True):
        p = outputs.softmax(dim=0)
        expected += torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(row, row)) / 6
    # θ has the weights class by class, then the biases.
    order = [5 * c + i for c in range(3) for i in range(4)] + [5 * c + 4 for c in range(3)]
    objective = Objective(network, layout, LOSS_SUMS["ce"], inputs, labels)
    found = Hessian(objective, theta).products(torch.eye(15, dtype=torch.float64))
    assert torch.allclose(found, expected[order][:, order], rtol=1e-12, atol=1e-15)
