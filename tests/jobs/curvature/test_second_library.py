"""curvlinops as a second oracle: it differentiates backwards, then forwards, and batches by itself.

Its release 3.0.1 is not one for networks with LayerNorm, where it is wrong with torch 2.13.
"""

import copy

import pytest
import torch
from curvlinops import HessianLinearOperator
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn.utils import vector_to_parameters

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector
from jobs.curvature.hessian import Hessian

pytestmark = [
    pytest.mark.parametrize("activation", ["tanh", "gelu"]),
    pytest.mark.parametrize("loss", ["mse", "ce"]),
    pytest.mark.parametrize("chunk_size", [None, 7, 4]),
]


class _HalfSquaredError(nn.Module):
    """½ the mean over samples of the sum over outputs, from torch's mean over both."""

    reduction = "mean"

    def forward(self, outputs, targets):
        return outputs.shape[1] / 2 * nn.functional.mse_loss(outputs, targets)


def _theirs(objective, theta, loss, batch):
    """The operator of curvlinops at θ, on a training set in batches of so many samples."""
    network = copy.deepcopy(objective.module).to_empty(device="cpu").to(theta.dtype)
    vector_to_parameters(theta, network.parameters())
    targets, criterion = objective.labels, nn.CrossEntropyLoss()
    if loss == "mse":
        targets, criterion = torch.eye(3, dtype=theta.dtype)[targets], _HalfSquaredError()
    return HessianLinearOperator(
        network,
        criterion,
        list(network.parameters()),
        list(zip(objective.inputs.split(batch), targets.split(batch), strict=True)),
        num_data=objective.samples,
    )


def test_products_are_those_of_curvlinops(random_objective, activation, loss, chunk_size):
    objective, theta = random_objective(
        activation=activation, loss=loss, depth=2, samples=9, chunk_size=chunk_size, retained=1
    )
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(3, len(theta), generator=generator, dtype=theta.dtype)
    ours = Hessian(objective, theta).products(vectors)
    theirs = (_theirs(objective, theta, loss, 5) @ vectors.T).T
    assert float((ours - theirs).norm()) <= 1e-12 * float(theirs.norm())


def test_both_ends_of_the_spectrum_are_those_of_curvlinops(
    random_objective, activation, loss, chunk_size
):
    objective, theta = random_objective(
        activation=activation, loss=loss, depth=2, samples=9, chunk_size=chunk_size
    )
    start = start_vector(len(theta), theta)
    ours = extremal_eigenvalues(Hessian(objective, theta).products, start, rtol=1e-8)
    operator = _theirs(objective, theta, loss, 5).to_scipy()
    low, high = eigsh(operator, k=2, which="BE", return_eigenvectors=False)
    assert ours.converged
    assert ours.lambda_max == pytest.approx(high, abs=1e-10 * ours.sharpness)
    assert ours.lambda_min == pytest.approx(low, abs=1e-10 * ours.sharpness)
