"""Trace, Frobenius norm, eigenvalues, adaptive and average sharpness beside dense Hessians."""

import math

import pytest
import torch
from hypothesis import given, settings
from support.spectra import EDGE, SPECTRA, rotated, rows_of

from jobs.curvature.further import further_measures
from jobs.curvature.hessian import Hessian
from jobs.curvature.probes import Estimate, average_sharpness, hutchinson
from jobs.curvature.sharpness import sharpness_at
from jobs.curvature.spectrum import adaptive_sharpness, leading_eigenvalues
from jobs.spec import Protocol


def _dense(objective, theta):
    hessian = Hessian(objective, theta)
    matrix = hessian.products(torch.eye(len(theta), dtype=theta.dtype))
    return (matrix + matrix.T) / 2


def _largest(values, count):
    """The values of largest magnitude, in descending order."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return values[values.abs().argsort(descending=True)[:count]].sort(descending=True).values


# --- trace and Frobenius norm -------------------------------------------------------------------


@pytest.mark.parametrize("probes", [2, 9])
def test_of_a_diagonal_operator_both_are_exact(probes):
    # vᵢ² = 1: every probe gives Σ dᵢ and Σ dᵢ².
    matrix = torch.diag(torch.tensor([3.0, -1.0, 4.0, 0.0], dtype=torch.float64))
    trace, frobenius = hutchinson(rows_of(matrix), matrix[0], probes)
    assert trace == Estimate(6.0, 0.0)
    assert frobenius.value == pytest.approx(math.sqrt(26), rel=1e-15)
    assert frobenius.standard_error == 0


def test_of_a_zero_operator_both_are_zero():
    zero = torch.zeros(3, 3, dtype=torch.float64)
    assert hutchinson(rows_of(zero), zero[0], 4) == (Estimate(0.0, 0.0), Estimate(0.0, 0.0))


def test_over_many_seeds_the_trace_is_right_on_average_and_so_is_its_error():
    matrix, seeds, probes = rotated([5.0, -2.0, 1.0, 0.5, 0.1, 7.0]), 400, 20
    found = [hutchinson(rows_of(matrix), matrix[0], probes, seed=seed)[0] for seed in range(seeds)]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    # The variance of one probe is 2 Σ_{i≠j} H_ij².
    off = matrix - torch.diag(matrix.diagonal())
    expected = math.sqrt(2 * float(off.square().sum()) / probes)
    assert float(values.mean()) == pytest.approx(11.6, abs=4 * expected / math.sqrt(seeds))
    # The spread over 400 seeds is known to 3.5 %, twice that in the tails.
    assert float(values.std()) == pytest.approx(expected, rel=0.1)
    errors = torch.tensor([one.standard_error for one in found], dtype=torch.float64)
    assert float(errors.square().mean().sqrt()) == pytest.approx(expected, rel=0.05)


def test_over_many_seeds_the_error_of_the_frobenius_norm_is_its_spread():
    matrix, seeds, probes = rotated([5.0, -2.0, 1.0, 0.5, 0.1, 7.0]), 400, 100
    found = [hutchinson(rows_of(matrix), matrix[0], probes, seed=seed)[1] for seed in range(seeds)]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    errors = torch.tensor([one.standard_error for one in found], dtype=torch.float64)
    spread, truth = float(values.std()), float(matrix.norm())
    assert float(errors.mean()) == pytest.approx(spread, rel=0.1)
    # Of the root of a mean, the bias is -s²/2‖H‖ to first order.
    bias = -(spread**2) / (2 * truth)
    assert float(values.mean()) == pytest.approx(truth + bias, abs=4 * spread / math.sqrt(seeds))


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_of_a_network_both_lie_within_four_standard_errors(random_objective, loss):
    objective, theta = random_objective(loss=loss, depth=2)
    dense = _dense(objective, theta)
    trace, frobenius = hutchinson(Hessian(objective, theta).products, theta, 200)
    assert abs(trace.value - float(dense.trace())) < 4 * trace.standard_error
    assert abs(frobenius.value - float(dense.norm())) < 4 * frobenius.standard_error
    # 2 Σ_{i≠j} H_ij² ≤ 2 ‖H‖²_F, over 200 probes; the error itself is known to some 5 %.
    assert 0 < trace.standard_error < 0.12 * float(dense.norm())
    assert 0 < frobenius.standard_error < 0.12 * float(dense.norm())


def test_more_probes_begin_with_the_fewer_ones_in_every_dtype():
    seen = []

    def note(rows):
        seen.append(rows)
        return rows

    for probes, dtype in ((21, torch.float64), (5, torch.float32)):
        hutchinson(note, torch.zeros(30, dtype=dtype), probes)
    many, few = torch.cat(seen[:-1]), seen[-1]
    assert many.shape == (21, 30)
    assert torch.equal(many[:5].float(), few)
    assert set(many.unique().tolist()) == {-1.0, 1.0}


# --- eigenvalues of largest magnitude -----------------------------------------------------------


def _leading(matrix, count, rtol=1e-8):
    return leading_eigenvalues(rows_of(matrix), matrix[0], count, rtol=rtol)


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_leading_eigenvalues_of_a_network_are_those_of_its_dense_hessian(
    random_objective, loss, count
):
    objective, theta = random_objective(loss=loss, depth=2)
    truth = _largest(torch.linalg.eigvalsh(_dense(objective, theta)), count)
    found = leading_eigenvalues(Hessian(objective, theta).products, theta, count, rtol=1e-9)
    assert found.converged
    norm = float(truth.abs().max())
    assert found.values == pytest.approx(truth.tolist(), abs=1e-9 * norm)
    assert max(found.residuals) <= 1e-9


@pytest.mark.parametrize("rtol", [1e-2, 1e-6])
def test_at_the_edge_of_stability_the_outliers_are_found_and_the_residuals_are_bounds(rtol):
    matrix = rotated(EDGE)
    found = _leading(matrix, 5, rtol)
    assert found.converged
    for value, residual, truth in zip(
        found.values, found.residuals, _largest(EDGE, 5).tolist(), strict=True
    ):
        assert residual <= rtol
        assert abs(value - truth) <= residual * 105


def test_the_largest_in_magnitude_are_ordered_by_value():
    matrix = rotated([-9.0, 8.0, -7.0, 6.0, 1.0, -2.0, 0.0])
    found = _leading(matrix, 4)
    assert found.values == pytest.approx((8.0, 6.0, -7.0, -9.0), abs=1e-7)


def test_an_eigenvalue_is_found_as_often_as_it_is_there(linear_model):
    # Each of the ten outputs has the same Hessian (1/n) X̃ᵀX̃.
    objective = linear_model.objective
    theta = torch.zeros(650, dtype=torch.float64)
    found = leading_eigenvalues(Hessian(objective, theta).products, theta, 12, rtol=1e-8)
    first, second = linear_model.eigenvalues[-1], linear_model.eigenvalues[-2]
    truth = [*[float(first)] * 10, *[float(second)] * 2]
    assert found.values == pytest.approx(truth, rel=1e-8)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(SPECTRA)
def test_leading_eigenvalues_are_right_whatever_the_spectrum(spectrum):
    matrix, count = rotated(spectrum), min(3, len(spectrum))
    found = _leading(matrix, count)
    assert found.converged
    magnitudes = sorted((abs(value) for value in spectrum), reverse=True)[:count]
    norm = magnitudes[0] or 1.0
    ours = sorted((abs(value) for value in found.values), reverse=True)
    assert ours == pytest.approx(magnitudes, abs=1e-7 * norm)


def test_there_are_no_more_eigenvalues_than_dimensions():
    found = _leading(torch.diag(torch.tensor([2.0, -3.0], dtype=torch.float64)), 5)
    assert found.values == pytest.approx((2.0, -3.0))
    assert found.converged


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_of_a_multiple_of_the_identity_all_are_equal(value):
    found = _leading(value * torch.eye(30, dtype=torch.float64), 3)
    assert found.values == pytest.approx((value,) * 3, abs=1e-12)
    assert found.converged


def test_float32_finds_them_within_its_rounding():
    matrix = rotated(EDGE).float()
    found = _leading(matrix, 5, 1e-5)
    assert found.converged
    assert found.values == pytest.approx(_largest(EDGE, 5).tolist(), abs=2e-5 * 105)


def test_an_operator_that_is_not_finite_has_no_eigenvalues():
    found = leading_eigenvalues(
        lambda rows: rows * math.nan, torch.ones(9, dtype=torch.float64), 2, rtol=1e-3
    )
    assert not found.converged
    assert [math.isnan(value) for value in (*found.values, *found.residuals)] == [True] * 4


# --- adaptive sharpness -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_adaptive_sharpness_is_the_norm_of_the_scaled_dense_hessian(random_objective, loss):
    objective, theta = random_objective(loss=loss, depth=2)
    scale = torch.diag(theta.abs())
    truth = torch.linalg.eigvalsh(scale @ _dense(objective, theta) @ scale).abs().max()
    found = adaptive_sharpness(Hessian(objective, theta).products, theta, rtol=1e-9)
    assert found.converged
    assert found.sharpness == pytest.approx(float(truth), rel=1e-9)
    assert found.residual <= 1e-9


def test_adaptive_sharpness_does_not_change_where_layers_are_scaled_against_each_other(
    random_objective,
):
    # (W₁, b₁, W₂) → (cW₁, cb₁, W₂/c) leaves a ReLU network as it is.
    objective, theta = random_objective(activation="relu")
    scaled = theta.clone()
    weight, bias, after, _ = objective.layout.split(scaled)
    for tensor, factor in ((weight, 4.0), (bias, 4.0), (after, 0.25)):
        tensor.mul_(factor)
    plain, adaptive = [], []
    for point in (theta, scaled):
        plain.append(sharpness_at(objective, point, rtol=1e-9).sharpness)
        products = Hessian(objective, point).products
        adaptive.append(adaptive_sharpness(products, point, rtol=1e-9).sharpness)
    assert adaptive[0] == pytest.approx(adaptive[1], rel=1e-8)
    assert plain[0] != pytest.approx(plain[1], rel=0.5)


def test_at_the_origin_adaptive_sharpness_is_zero(random_objective):
    objective, theta = random_objective()
    found = adaptive_sharpness(Hessian(objective, 0 * theta).products, 0 * theta, rtol=1e-3)
    assert (found.sharpness, found.residual, found.converged) == (0, 0, True)


# --- average sharpness --------------------------------------------------------------------------


def test_average_sharpness_of_the_linear_model_has_a_closed_form(linear_model):
    # ½ xᵀAx with A = ρ² D H D and x ~ N(0, I): mean ½ tr A, variance ½ ‖A‖²_F.
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(650, generator=generator, dtype=torch.float64)
    objective, probes, radius = linear_model.objective, 300, 0.3
    dense = _dense(objective, theta)
    scaled = radius**2 * theta[:, None] * dense * theta
    found = average_sharpness(objective, theta, radius=radius, probes=probes)
    expected = float(scaled.norm()) / math.sqrt(2 * probes)
    # The spread of 300 draws is known to 4 % or so.
    assert found.standard_error == pytest.approx(expected, rel=0.2)
    assert abs(found.value - float(scaled.trace()) / 2) < 4 * expected
    assert found.standard_error < 0.05 * found.value


def test_over_many_seeds_average_sharpness_is_right_on_average_and_so_is_its_error(
    random_objective,
):
    objective, theta = random_objective()
    dense, radius, seeds = _dense(objective, theta), 1e-3, 100
    truth = radius**2 * float((theta.square() * dense.diagonal()).sum()) / 2
    found = [
        average_sharpness(objective, theta, radius=radius, probes=10, seed=seed)
        for seed in range(seeds)
    ]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    errors = torch.tensor([one.standard_error for one in found], dtype=torch.float64)
    spread = float(values.std())
    # Of a network it is so to second order in ρ: the fourth is below ρ² of it.
    assert abs(float(values.mean()) - truth) < 4 * spread / math.sqrt(seeds) + 1e-4 * truth
    assert float(errors.square().mean().sqrt()) == pytest.approx(spread, rel=0.25)


def test_measures_depend_on_theta_alone(random_objective):
    objective, theta = random_objective()

    def all_of_them():
        products = Hessian(objective, theta).products
        return (
            hutchinson(products, theta, 5),
            leading_eigenvalues(products, theta, 2, rtol=1e-3),
            adaptive_sharpness(products, theta, rtol=1e-3),
            average_sharpness(objective, theta, radius=0.1, probes=3),
        )

    first = all_of_them()
    torch.manual_seed(99)
    torch.randn(3)
    assert all_of_them() == first


# --- what a protocol asks for -------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["trace", "frobenius", "adaptive_sharpness", "average_sharpness"])
def test_a_measure_that_is_asked_for_is_there_with_its_error_and_no_other(random_objective, asked):
    objective, theta = random_objective()
    protocol = Protocol(epsilons=(0.1,), also=(asked,), probes=5, perturbation=0.1)
    products = Hessian(objective, theta).products
    trace, frobenius = hutchinson(products, theta, 5)
    adaptive = adaptive_sharpness(products, theta, rtol=protocol.sharpness_rtol)
    average = average_sharpness(objective, theta, radius=0.1, probes=5)
    expected = {
        "trace": (trace.value, trace.standard_error, None),
        "frobenius": (frobenius.value, frobenius.standard_error, None),
        "adaptive_sharpness": (adaptive.sharpness, None, adaptive.residual),
        "average_sharpness": (average.value, average.standard_error, None),
    }
    (found,) = further_measures(protocol, objective, theta, point="end")
    assert (found.measure, found.point) == (asked, "end")
    assert (found.value, found.standard_error, found.residual) == expected[asked]


def test_eigenvalues_that_are_asked_for_come_in_order_with_their_residuals(random_objective):
    objective, theta = random_objective()
    protocol = Protocol(epsilons=(0.1,), eigenvalues=3)
    found = further_measures(protocol, objective, theta, point="end")
    leading = leading_eigenvalues(
        Hessian(objective, theta).products, theta, 3, rtol=protocol.sharpness_rtol
    )
    assert [(one.measure, one.rank) for one in found] == [("eigenvalue", n) for n in (1, 2, 3)]
    assert [one.value for one in found] == list(leading.values)
    assert [one.residual for one in found] == list(leading.residuals)


def test_what_is_not_asked_for_costs_no_products(random_objective):
    objective, theta = random_objective()
    before = objective.hvps
    protocol = Protocol(epsilons=(0.1,), also=("norms",))
    found = further_measures(protocol, objective, theta, point="end")
    assert {one.measure for one in found} == {"l1_norm", "l2_norm", "linf_norm"}
    assert objective.hvps == before


def test_a_hessian_counts_as_one_gradient_and_each_product_as_one(random_objective):
    objective, theta = random_objective()
    gradients, hvps = objective.gradients, objective.hvps
    hessian = Hessian(objective, theta)
    assert (objective.gradients, objective.hvps) == (gradients + 1, hvps)
    hessian.products(torch.eye(3, len(theta), dtype=theta.dtype))
    hessian @ theta
    assert (objective.gradients, objective.hvps) == (gradients + 1, hvps + 4)
