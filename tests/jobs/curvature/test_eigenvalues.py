import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.spectra import EDGE, SPECTRA, TOLERANCES, ends_of, rotated, rows_of

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector
from jobs.curvature.ritz import LEAST_PRODUCTS, ExtremalEigenvalues


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float64", 1e-8), ("float32", 1e-3), ("float32", 1e-6)]
)
@pytest.mark.parametrize("seed", range(4))
def test_both_ends_of_a_random_matrix(dtype, rtol, seed):
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(150, 150, generator=generator, dtype=torch.float64)
    matrix = (random + random.T + torch.outer(random[0], random[0])).to(getattr(torch, dtype))
    truth = np.linalg.eigvalsh(matrix.double().numpy())
    found = ends_of(matrix, rtol)
    norm = np.abs(truth).max()
    assert found.converged
    assert max(found.residual_max, found.residual_min) <= rtol
    assert abs(found.lambda_max - truth[-1]) <= rtol * norm
    assert abs(found.lambda_min - truth[0]) <= rtol * norm
    assert found.products <= 150


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_an_eigenvalue_is_of_the_order_of_the_squared_residual(seed):
    # |λ − θ| ≤ residual²/gap; the gaps here are 1 of 100.
    matrix = rotated([100.0, 99.0, *np.linspace(-50, 50, 80), -99.0, -100.0], seed)
    found = ends_of(matrix, 1e-4)
    assert found.converged
    assert abs(found.lambda_max - 100) <= 1e-6 * 100
    assert abs(found.lambda_min + 100) <= 1e-6 * 100


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize(
    ("spectrum", "lowest", "highest"),
    [
        ([5.0, 5.0, 5.0, *np.linspace(-1, 1, 60)], -1, 5),
        ([4.0, -4.0, *np.linspace(-1, 1, 60)], -4, 4),
        ([1.0, -3.0], -3, 1),
        ([1.0, -3.0, *np.linspace(-0.5, 0.5, 60)], -3, 1),
        ([0.0] * 300 + [7.0], 0, 7),
        ([0.0] * 300 + [-7.0], -7, 0),
        ([*np.linspace(-1e-4, 1e-4, 300), 50.0, 20.0, 10.0, 3.0, -0.5], -0.5, 50),
        ([1e-30, 2e-30, -5e-30], -5e-30, 2e-30),
        ([1e30, 2e30, -5e30], -5e30, 2e30),
        ([2.0], 2, 2),
        ([-2.0], -2, -2),
    ],
    ids=[
        "degenerate",
        "plus-minus",
        "negative-2x2",
        "negative",
        "rank-one",
        "negative-rank-one",
        "network",
        "tiny",
        "large",
        "1x1",
        "negative-1x1",
    ],
)
def test_spectra(spectrum, lowest, highest, ends):
    found = ends_of(rotated(spectrum), 1e-8, ends=ends)
    norm = max(-lowest, highest)
    assert found.converged
    assert abs(found.sharpness - norm) <= 1e-8 * norm
    assert found.residual <= 1e-8
    if ends == "both":
        assert abs(found.lambda_max - highest) <= 1e-8 * norm
        assert abs(found.lambda_min - lowest) <= 1e-8 * norm


def test_sharpness_is_the_larger_magnitude_and_residual_belongs_to_it():
    found = ExtremalEigenvalues(1.0, -3.0, 0.5, 0.25, True, True, True, 2)
    assert found.sharpness == 3.0
    assert found.residual == 0.25
    found = ExtremalEigenvalues(3.0, -1.0, 0.5, 0.25, True, True, True, 2)
    assert found.sharpness == 3.0
    assert found.residual == 0.5


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_a_multiple_of_the_identity_takes_one_product(dtype, ends, scale):
    found = ends_of(scale * torch.eye(200, dtype=dtype), 1e-3, ends=ends)
    assert found.converged
    assert found.lambda_max == pytest.approx(scale, rel=1e-6)
    assert found.lambda_min == pytest.approx(scale, rel=1e-6)
    assert found.products == 1


@pytest.mark.parametrize("value", [5.0, -2.0, 0.0])
def test_one_by_one_takes_one_product(value):
    found = ends_of(torch.tensor([[value]], dtype=torch.float64), 1e-3)
    assert (found.lambda_max, found.lambda_min, found.converged) == (value, value, True)
    assert found.products == 1


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("size", [1, 50])
def test_the_zero_matrix_takes_one_product(size, ends):
    found = ends_of(torch.zeros(size, size), 1e-3, ends=ends)
    assert found == ExtremalEigenvalues(0.0, 0.0, 0.0, 0.0, True, True, True, 1)
    assert found.sharpness == 0


@pytest.mark.parametrize("ends", ["both", "dominant"])
def test_a_start_vector_whose_rayleigh_quotient_is_zero(ends):
    # H e₁ = e₂ and H e₂ = e₁: the first Ritz value is exactly 0, the eigenvalues are ±1.
    matrix = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-6, ends=ends)
    assert found.converged
    assert found.lambda_max == pytest.approx(1)
    assert found.lambda_min == pytest.approx(-1)


# Eigenvalues of every magnitude whose square is a float64, many of them equal or nearly so.


@settings(max_examples=120, derandomize=True, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 50), rtol=TOLERANCES)
def test_the_residual_is_the_truth(spectrum, seed, rtol):
    matrix = rotated(spectrum, seed)
    truth = np.linalg.eigvalsh(matrix.numpy())
    norm = float(np.abs(truth).max())
    rounding = 1e-13 * norm
    for ends in ("both", "dominant"):
        found = ends_of(matrix, rtol, ends=ends)
        assert found.converged
        assert found.residual <= rtol
        for value, residual in (
            (found.lambda_max, found.residual_max),
            (found.lambda_min, found.residual_min),
        ):
            nearest = float(np.abs(truth - value).min())
            assert nearest <= residual * found.sharpness + rounding
        if ends == "both":
            assert max(found.residual_max, found.residual_min) <= rtol
        # Ritz values lie inside the spectrum. A residual below the tolerance may belong to the
        # second of two eigenvalues that are nearly equal; farther off it cannot be.
        assert (1 - max(rtol, 0.02)) * norm - rounding <= found.sharpness <= norm + rounding


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    spectrum=SPECTRA,
    top=st.floats(11, 30),
    bottom=st.floats(11, 30),
    seed=st.integers(0, 50),
    rtol=TOLERANCES,
)
def test_ends_that_stand_apart_are_found_to_the_tolerance(spectrum, top, bottom, seed, rtol):
    matrix = rotated([*spectrum, top, -bottom], seed)
    norm = max(top, bottom)
    found = ends_of(matrix, rtol)
    assert found.converged
    assert abs(found.lambda_max - top) <= rtol * norm + 1e-13 * norm
    assert abs(found.lambda_min + bottom) <= rtol * norm + 1e-13 * norm
    dominant = ends_of(matrix, rtol, ends="dominant")
    assert dominant.converged
    assert abs(dominant.sharpness - norm) <= rtol * norm + 1e-13 * norm


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    spectrum=SPECTRA.map(lambda values: [*values, *np.linspace(-5, 5, 40)]),
    seed=st.integers(0, 50),
    rtol=TOLERANCES,
)
def test_the_dominant_end_alone_gives_the_same_sharpness_and_costs_no_more(spectrum, seed, rtol):
    matrix = rotated(spectrum, seed)
    both, dominant = ends_of(matrix, rtol), ends_of(matrix, rtol, ends="dominant")
    assert dominant.converged
    assert dominant.products <= both.products
    # Of two eigenvalues closer than Lanczos has yet resolved, it may settle on the lower one.
    assert dominant.sharpness == pytest.approx(both.sharpness, rel=max(2 * rtol, 0.02))


def test_the_dominant_end_alone_costs_no_more_where_the_spectrum_is_symmetric():
    # A block matrix [0 B; Bᵀ 0], as the Hessian of a network near θ = 0: every λ comes with −λ.
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(200, 200, generator=generator, dtype=torch.float64)
    matrix = torch.zeros(400, 400, dtype=torch.float64)
    matrix[:200, 200:], matrix[200:, :200] = block, block.T
    truth = float(torch.linalg.matrix_norm(block, 2))
    both, dominant = ends_of(matrix, 1e-3), ends_of(matrix, 1e-3, ends="dominant")
    assert dominant.converged
    assert dominant.sharpness == pytest.approx(truth, rel=1e-3)
    assert dominant.products <= both.products


def test_a_small_space_is_not_believed_by_its_residual_alone():
    # The start vector is nearly an eigenvector of 1: its residual is below the tolerance at once,
    # while the larger eigenvalue 2 lies almost outside the space.
    matrix = torch.diag(torch.tensor([2.0, *np.linspace(0.9999, 1.0001, 60)], dtype=torch.float64))
    start = torch.full((61,), 1.0, dtype=torch.float64)
    start[0] = 1e-4
    found = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-2)
    assert found.converged
    assert found.products >= LEAST_PRODUCTS
    assert found.sharpness == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_too_few_iterations_are_not_called_converged(limit):
    found = ends_of(rotated(np.linspace(-1, 1, 200)), 1e-8, max_products=limit)
    assert not found.converged
    assert found.products == limit
    assert max(found.residual_max, found.residual_min) > 1e-8
    assert found.sharpness <= 1


@settings(max_examples=60, derandomize=True, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 50), rtol=TOLERANCES)
def test_the_residuals_are_those_of_the_vectors(spectrum, seed, rtol):
    matrix = rotated(spectrum, seed)
    found = ends_of(matrix, rtol, keep=2)
    rounding = 1e-13 * float(torch.linalg.matrix_norm(matrix, 2))
    for vector in found.vectors:
        assert float(vector.norm()) == pytest.approx(1, abs=1e-12)
        quotient = float(vector @ matrix @ vector)
        value, residual = min(
            (found.lambda_max, found.residual_max),
            (found.lambda_min, found.residual_min),
            key=lambda pair: abs(pair[0] - quotient),
        )
        assert quotient == pytest.approx(value, abs=rounding)
        truth = float((matrix @ vector - value * vector).norm())
        assert truth == pytest.approx(residual * found.sharpness, rel=1e-3, abs=rounding)


def test_every_number_that_steers_can_be_taken_from_another_process():
    # A process that is told another one's numbers takes its decisions, and gives its answer.
    matrix, recorded = rotated(EDGE), []

    def record(values):
        recorded.append(values.clone())
        return values

    start = start_vector(len(matrix), matrix)
    first = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-4, agree=record)
    told = iter(recorded)
    disturbed = matrix + 1e-6 * torch.eye(len(matrix)).double()
    second = extremal_eigenvalues(
        rows_of(disturbed), start, rtol=1e-4, agree=lambda values: next(told)
    )
    assert second == first
    assert next(told, None) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("skew", [1e-3, 0.5])
def test_an_operator_that_is_not_symmetric_ends_unconverged_when_the_space_is_full(ends, skew):
    matrix = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
    matrix[0, 4] = matrix[1, 3] = skew
    found = extremal_eigenvalues(
        rows_of(matrix), torch.ones(5, dtype=torch.float64), rtol=1e-6, ends=ends
    )
    assert found.products == 5
    assert not found.converged
    assert not found.sharpness_converged
    assert found.residual > 1e-6


def test_the_start_vector_is_the_same_every_time_and_in_every_dtype():
    before = torch.random.get_rng_state()
    double, single = start_vector(1000, torch.empty(0).double()), start_vector(1000, torch.empty(0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(double, start_vector(1000, double))
    assert torch.equal(double.float(), single)
    assert float(double.norm()) == pytest.approx(1, abs=1e-14)
    assert not torch.equal(double[:999], start_vector(999, double))


def test_the_answer_is_the_same_bits_every_time():
    matrix = rotated(np.linspace(-1, 2, 80)).float()
    assert ends_of(matrix, 1e-4) == ends_of(matrix, 1e-4)
