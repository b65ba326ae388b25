"""λ_min has a residual and a flag of its own, and can be converged relative to itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from support.spectra import SPECTRA, TOLERANCES, ends_of, rotated

from jobs import OngoingTrial, run_trial
from jobs.curvature.hessian import Hessian
from jobs.curvature.ritz import ExtremalEigenvalues
from jobs.curvature.sharpness import sharpness_at
from jobs.spec import LEAST_RTOL

# As of a network: λ_min is a hundredth of S, at the edge of a bulk.
NETWORK = [*np.linspace(-0.29, 0.5, 400), 3.0, 8.0, 29.0, 31.0]


def test_a_lambda_min_that_is_known_relative_to_s_alone_is_not_called_converged():
    found = ends_of(rotated(NETWORK), 1e-3)
    assert found.converged
    assert found.sharpness_converged
    assert found.residual <= 1e-3
    assert found.lambda_min_residual > 1e-2
    assert not found.lambda_min_converged
    # A Rayleigh quotient lies inside the spectrum.
    assert found.lambda_min > -0.29


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float64", 1e-2), ("float64", 1e-6), ("float32", 1e-3)]
)
def test_lambda_min_is_converged_relative_to_itself_where_that_is_asked_for(dtype, rtol):
    matrix = rotated(NETWORK).to(getattr(torch, dtype))
    found = ends_of(matrix, 1e-3, lambda_min_rtol=rtol)
    assert found.converged
    assert found.lambda_min_converged
    assert found.lambda_min_residual <= rtol
    assert found.lambda_min == pytest.approx(-0.29, rel=rtol)


def test_products_that_do_not_suffice_for_lambda_min_leave_the_sharpness_converged():
    found = ends_of(rotated(NETWORK), 1e-3, lambda_min_rtol=1e-8, max_products=45)
    assert found.sharpness_converged
    assert not found.lambda_min_converged
    assert not found.converged


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spectrum", [[0.0] * 300 + [7.0], [0.0] * 300 + [1.0, 3.0, 7.0]])
def test_a_lambda_min_of_zero_is_converged_at_the_rounding_of_the_sharpness(dtype, spectrum):
    found = ends_of(rotated(spectrum).to(dtype), 1e-3, lambda_min_rtol=1e-3)
    assert found.lambda_min_converged
    assert abs(found.lambda_min) <= LEAST_RTOL[str(dtype).removeprefix("torch.")] * 7


def test_where_lambda_min_gives_the_sharpness_its_residual_is_that_of_the_sharpness():
    found = ExtremalEigenvalues(1.0, -4.0, 0.5, 0.25, True, True, True, 2)
    assert found.lambda_min_residual == found.residual == 0.25


def test_the_residual_of_a_lambda_min_of_zero():
    def lambda_min_residual(residual):
        flags = (True, True, True)
        return ExtremalEigenvalues(4.0, 0.0, 1e-9, residual, *flags, 2).lambda_min_residual

    assert lambda_min_residual(0.0) == 0
    assert lambda_min_residual(1e-9) == math.inf


@settings(max_examples=60, derandomize=True, deadline=None)
@given(spectrum=SPECTRA, rtol=TOLERANCES)
def test_the_residual_of_lambda_min_bounds_the_distance_to_an_eigenvalue(spectrum, rtol):
    matrix = rotated(spectrum)
    truth = np.linalg.eigvalsh(matrix.numpy())
    norm = float(np.abs(truth).max())
    found = ends_of(matrix, rtol, lambda_min_rtol=rtol)
    assert found.converged
    if found.lambda_min != 0:
        nearest = float(np.abs(truth - found.lambda_min).min())
        assert nearest <= found.lambda_min_residual * abs(found.lambda_min) + 1e-13 * norm


def _dense(trial):
    """All eigenvalues of the Hessian where a trial ends."""
    run = OngoingTrial(trial, threads=1)
    run.advance()
    hessian = Hessian(run.objective, run.at.theta)
    matrix = torch.stack(
        [hessian @ one for one in torch.eye(len(run.at.theta), dtype=run.at.theta.dtype)]
    )
    return run, torch.linalg.eigvalsh((matrix + matrix.T) / 2).tolist()


def test_the_columns_of_a_row_say_what_is_known_of_lambda_min(trial):
    network = {"depth": 2, "width": 12, "n_train": 60, "epsilons": (0.1,)}
    run, every = _dense(trial(0.1, **network))
    (plain,) = run.result().crossings
    (asked,) = run_trial(trial(0.1, lambda_min_rtol=1e-3, **network), threads=1).crossings
    for row in (plain, asked):
        assert row.sharpness == pytest.approx(every[-1], rel=1e-5)
        assert row.sharpness_converged
        assert row.sharpness_residual <= 1e-3
        distance = min(abs(value - row.lambda_min) for value in every)
        assert distance <= row.lambda_min_residual * abs(row.lambda_min)
    assert plain.lambda_min_residual > 1e-2
    assert not plain.lambda_min_converged
    assert plain.lambda_min > every[0] * (1 - 1e-3)
    assert asked.lambda_min_residual <= 1e-3
    assert asked.lambda_min_converged
    assert asked.lambda_min == pytest.approx(every[0], rel=1e-3)
    assert asked.hvps > plain.hvps


def test_a_hessian_without_a_negative_eigenvalue_has_a_lambda_min_of_zero(linear_model):
    theta = torch.zeros(650, dtype=torch.float64)
    found = sharpness_at(linear_model.objective, theta, rtol=1e-3, lambda_min_rtol=1e-3)
    assert found.lambda_min_converged
    assert abs(found.lambda_min) <= 1e-12 * found.sharpness
