"""Gradients of the Hessian's entries against differences of its products."""

import pytest
import torch

from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.curvature.third_derivatives import hessian_gradients
from jobs.problem import pose

PAIRS = [(0, 0), (0, 1), (1, 1), (2, 0)]


def _directions(theta, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn((count, len(theta)), generator=generator, dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("architecture", ["fcn", "cnn", "resnet", "vit"])
def test_they_are_how_the_entries_of_the_hessian_change(problem, architecture, loss):
    """d/ds uᵀH(θ + s w)v by central differences, for w of every kind."""
    posed = problem(architecture=architecture, width=8, n_train=12, activation="gelu", loss=loss)
    objective, _, theta = pose(posed, "cpu")
    theta = theta + 0.05 * _directions(theta, 1)[0] * len(theta) ** 0.5
    vectors, along = _directions(theta), _directions(theta, 2, seed=5)
    found = hessian_gradients(objective, theta, vectors, PAIRS)
    for way in along:
        ahead, behind = (Hessian(objective, theta + s * way) @ vectors.T for s in (1e-4, -1e-4))
        slope = vectors @ (ahead - behind) / 2e-4
        for row, (i, j) in enumerate(PAIRS):
            expected = pytest.approx(float(slope[j, i]), rel=1e-5, abs=1e-6 * float(slope.norm()))
            assert float(found[row] @ way) == expected


def test_in_chunks_they_are_the_same(problem):
    objective, _, theta = pose(problem(), "cpu")
    whole = hessian_gradients(objective, theta, _directions(theta), PAIRS)
    objective.chunks = Chunks(40, 1, thrice=7)
    parts = hessian_gradients(objective, theta, _directions(theta), PAIRS)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


def test_they_are_counted_with_the_gradient_of_their_graph(problem):
    objective, _, theta = pose(problem(), "cpu")
    hessian_gradients(objective, theta, _directions(theta), PAIRS)
    assert (objective.gradients, objective.hvps, objective.third_derivatives) == (1, 0, 4)
    assert hessian_gradients(objective, theta, _directions(theta), []).shape == (0, len(theta))
    assert objective.third_derivatives == 4


def test_of_a_quadratic_loss_they_vanish(linear_model):
    theta = torch.ones(650, dtype=torch.float64)
    found = hessian_gradients(linear_model.objective, theta, _directions(theta), PAIRS)
    assert float(found.abs().max()) == 0.0


def test_weight_decay_adds_nothing(problem):
    with_decay, _, theta = pose(problem(weight_decay=0.1), "cpu")
    without, _, _ = pose(problem(), "cpu")
    one, other = (
        hessian_gradients(each, theta, _directions(theta), PAIRS) for each in (with_decay, without)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=0)
