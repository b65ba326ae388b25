import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.basis import Basis
from jobs.eigenvalues import (
    LEAST_PRODUCTS,
    ExtremalEigenvalues,
    extremal_eigenvalues,
    reachable_rtol,
    start_vector,
)


def _rotated(eigenvalues, seed=0):
    """A dense float64 matrix with these eigenvalues in a random basis."""
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(random)
    matrix = basis @ torch.diag(values) @ basis.T
    return (matrix + matrix.T) / 2


def _rows(matrix):
    """The operator of a symmetric matrix, applied to the rows of another one."""
    return lambda rows: rows @ matrix


def _ends(matrix, rtol, **options):
    start = start_vector(len(matrix), matrix)
    return extremal_eigenvalues(_rows(matrix), start, rtol=rtol, **options)


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float64", 1e-8), ("float32", 1e-3), ("float32", 1e-5)]
)
@pytest.mark.parametrize("seed", range(4))
def test_both_ends_of_a_random_matrix(dtype, rtol, seed):
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(150, 150, generator=generator, dtype=torch.float64)
    matrix = (random + random.T + torch.outer(random[0], random[0])).to(getattr(torch, dtype))
    truth = np.linalg.eigvalsh(matrix.double().numpy())
    found = _ends(matrix, rtol)
    norm = np.abs(truth).max()
    assert found.converged
    assert max(found.residual_max, found.residual_min) <= rtol
    assert abs(found.lambda_max - truth[-1]) <= rtol * norm
    assert abs(found.lambda_min - truth[0]) <= rtol * norm
    assert found.products <= 150


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_an_eigenvalue_is_of_the_order_of_the_squared_residual(seed):
    # |λ − θ| ≤ residual²/gap; the gaps here are 1 of 100.
    matrix = _rotated([100.0, 99.0, *np.linspace(-50, 50, 80), -99.0, -100.0], seed)
    found = _ends(matrix, 1e-4)
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
    found = _ends(_rotated(spectrum), 1e-8, ends=ends)
    norm = max(-lowest, highest)
    assert found.converged
    assert abs(found.sharpness - norm) <= 1e-8 * norm
    assert found.residual <= 1e-8
    if ends == "both":
        assert abs(found.lambda_max - highest) <= 1e-8 * norm
        assert abs(found.lambda_min - lowest) <= 1e-8 * norm


def test_sharpness_is_the_larger_magnitude_and_residual_belongs_to_it():
    found = ExtremalEigenvalues(1.0, -3.0, 0.5, 0.25, True, 2)
    assert found.sharpness == 3.0
    assert found.residual == 0.25
    found = ExtremalEigenvalues(3.0, -1.0, 0.5, 0.25, True, 2)
    assert found.sharpness == 3.0
    assert found.residual == 0.5


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_a_multiple_of_the_identity_takes_one_product(dtype, ends, scale):
    found = _ends(scale * torch.eye(200, dtype=dtype), 1e-3, ends=ends)
    assert found.converged
    assert found.lambda_max == pytest.approx(scale, rel=1e-6)
    assert found.lambda_min == pytest.approx(scale, rel=1e-6)
    assert found.products == 1


@pytest.mark.parametrize("value", [5.0, -2.0, 0.0])
def test_one_by_one_takes_one_product(value):
    found = _ends(torch.tensor([[value]], dtype=torch.float64), 1e-3)
    assert (found.lambda_max, found.lambda_min, found.converged) == (value, value, True)
    assert found.products == 1


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("size", [1, 50])
def test_the_zero_matrix_takes_one_product(size, ends):
    found = _ends(torch.zeros(size, size), 1e-3, ends=ends)
    assert found == ExtremalEigenvalues(0.0, 0.0, 0.0, 0.0, True, 1)
    assert found.sharpness == 0


def test_an_invariant_space_is_enough_even_where_the_tolerance_is_below_rounding():
    # A start vector within one eigenspace says all there is to know after one product.
    found = _ends(torch.eye(64, dtype=torch.float32), 1e-12)
    assert found.sharpness == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("ends", ["both", "dominant"])
def test_a_start_vector_whose_rayleigh_quotient_is_zero(ends):
    # H e₁ = e₂ and H e₂ = e₁: the first Ritz value is exactly 0, the eigenvalues are ±1.
    matrix = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = extremal_eigenvalues(_rows(matrix), start, rtol=1e-6, ends=ends)
    assert found.converged
    assert found.lambda_max == pytest.approx(1)
    assert found.lambda_min == pytest.approx(-1)


# Eigenvalues of every magnitude whose square is a float64, many of them equal or nearly so.
SPECTRA = st.lists(
    st.one_of(
        st.floats(-10, 10),
        st.sampled_from([0.0, 1.0, -1.0, 1.001, 9.99, 10.0, -10.0]),
        st.floats(-1e-3, 1e-3),
    ).map(lambda value: value if abs(value) > 1e-120 else 0.0),
    min_size=2,
    max_size=30,
)
TOLERANCES = st.sampled_from([1e-2, 1e-4, 1e-8])


@settings(max_examples=120, derandomize=True, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 50), rtol=TOLERANCES)
def test_the_residual_is_the_truth(spectrum, seed, rtol):
    matrix = _rotated(spectrum, seed)
    truth = np.linalg.eigvalsh(matrix.numpy())
    norm = float(np.abs(truth).max())
    rounding = 1e-13 * norm
    for ends in ("both", "dominant"):
        found = _ends(matrix, rtol, ends=ends)
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
    matrix = _rotated([*spectrum, top, -bottom], seed)
    norm = max(top, bottom)
    found = _ends(matrix, rtol)
    assert found.converged
    assert abs(found.lambda_max - top) <= rtol * norm + 1e-13 * norm
    assert abs(found.lambda_min + bottom) <= rtol * norm + 1e-13 * norm
    dominant = _ends(matrix, rtol, ends="dominant")
    assert dominant.converged
    assert abs(dominant.sharpness - norm) <= rtol * norm + 1e-13 * norm


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    spectrum=SPECTRA.map(lambda values: [*values, *np.linspace(-5, 5, 40)]),
    seed=st.integers(0, 50),
    rtol=TOLERANCES,
)
def test_the_dominant_end_alone_gives_the_same_sharpness_and_costs_no_more(spectrum, seed, rtol):
    matrix = _rotated(spectrum, seed)
    both, dominant = _ends(matrix, rtol), _ends(matrix, rtol, ends="dominant")
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
    both, dominant = _ends(matrix, 1e-3), _ends(matrix, 1e-3, ends="dominant")
    assert dominant.converged
    assert dominant.sharpness == pytest.approx(truth, rel=1e-3)
    assert dominant.products <= both.products


def test_a_small_space_is_not_believed_by_its_residual_alone():
    # The start vector is nearly an eigenvector of 1: its residual is below the tolerance at once,
    # while the larger eigenvalue 2 lies almost outside the space.
    matrix = torch.diag(torch.tensor([2.0, *np.linspace(0.9999, 1.0001, 60)], dtype=torch.float64))
    start = torch.full((61,), 1.0, dtype=torch.float64)
    start[0] = 1e-4
    found = extremal_eigenvalues(_rows(matrix), start, rtol=1e-2)
    assert found.converged
    assert found.products >= LEAST_PRODUCTS
    assert found.sharpness == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_too_few_iterations_are_not_called_converged(limit):
    found = _ends(_rotated(np.linspace(-1, 1, 200)), 1e-8, max_products=limit)
    assert not found.converged
    assert found.products == limit
    assert max(found.residual_max, found.residual_min) > 1e-8
    assert found.sharpness <= 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("first_good", [0, 4])
def test_an_operator_that_is_not_finite_gives_no_answer_and_no_exception(bad, first_good):
    matrix, calls = _rotated(np.linspace(-1, 1, 50)), []

    def operator(rows):
        calls.append(1)
        return rows @ matrix if len(calls) <= first_good else torch.full_like(rows, bad)

    found = extremal_eigenvalues(operator, start_vector(50, matrix), rtol=1e-8)
    assert not found.converged
    assert math.isnan(found.sharpness)
    assert found.products == first_good + 1


def test_an_operator_that_overflows_is_not_called_converged():
    # Entries near the largest float32: the product itself is finite, its inner products are not.
    largest = torch.finfo(torch.float32).max
    calls = []

    def operator(rows):
        calls.append(1)
        return torch.full_like(rows, largest / 2 if len(calls) > 7 else 1.0) * rows.sign()

    found = extremal_eigenvalues(operator, start_vector(50, torch.empty(0)), rtol=1e-3)
    assert not (found.converged and len(calls) > 7)


def test_no_ghost_copies_appear_however_long_the_process(monkeypatch):
    # Without reorthogonalisation, copies of the outliers appear after some tens of steps, and the
    # last projected matrix would not have the spectrum of the operator.
    spectrum = np.concatenate([np.linspace(0, 1, 118), [1e3, 2e3]])
    seen = []
    real = torch.linalg.eigh

    def spy(matrix):
        seen.append(matrix)
        return real(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", spy)
    found = _ends(_rotated(spectrum), 1e-300, max_products=1000, most_vectors=1000)
    assert found.products > 60
    assert not found.converged
    values = np.linalg.eigvalsh(seen[-1])
    np.testing.assert_allclose(values[-2:], [1e3, 2e3], rtol=1e-12)
    assert values[-3] < 1 + 1e-9


EDGE = [*np.linspace(-3, 10, 300), 50.0, 80.0, 98.0, 101.0, 105.0]
"""Like the Hessian of a network at the edge of stability: a bulk, and outliers close together."""

CLUSTERED = [*np.linspace(0, 100, 1500) ** 1.02, *np.linspace(110.2, 110.3, 5)]


@pytest.mark.parametrize("most_vectors", [20, 40])
@pytest.mark.parametrize("ends", ["both", "dominant"])
def test_a_restarted_process_finds_the_same_with_few_more_products(most_vectors, ends):
    matrix = _rotated(CLUSTERED)
    options = {"ends": ends, "max_products": 2000}
    whole = _ends(matrix, 1e-8, most_vectors=2000, **options)
    restarted = _ends(matrix, 1e-8, most_vectors=most_vectors, **options)
    assert whole.products > 40
    assert restarted.converged
    assert restarted.lambda_max == pytest.approx(110.3, rel=1e-12)
    if ends == "both":
        assert restarted.lambda_min == pytest.approx(whole.lambda_min, abs=1e-6)
    assert restarted.products <= 2 * whole.products


def _moved(matrix, amount, seed=5):
    """The matrix after a small symmetric change of its norm's order times ``amount``."""
    generator = torch.Generator().manual_seed(seed)
    change = torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype)
    change = (change + change.T) / torch.linalg.matrix_norm(change + change.T, 2)
    return matrix + amount * torch.linalg.matrix_norm(matrix, 2) * change


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("amount", [1e-4, 1e-3, 1e-2])
def test_a_warm_start_costs_less_and_finds_the_same(amount, ends):
    matrix = _rotated(EDGE)
    moved = _moved(matrix, amount)
    truth = float(torch.linalg.eigvalsh(moved)[-1])
    before = _ends(matrix, 1e-3, ends=ends, keep=3)
    assert before.vectors.shape == (3, len(matrix))
    assert torch.allclose(before.vectors @ before.vectors.T, torch.eye(3).double(), atol=1e-12)
    start = torch.cat([before.vectors, start_vector(len(matrix), matrix)[None]])
    warm = extremal_eigenvalues(_rows(moved), start, rtol=1e-3, ends="dominant")
    cold = _ends(moved, 1e-3, ends="dominant")
    assert warm.converged
    assert warm.sharpness == pytest.approx(truth, rel=1e-3)
    assert warm.products < cold.products


@pytest.mark.parametrize("seed", range(5))
def test_a_warm_start_follows_eigenvalues_that_cross(seed):
    # Two eigenvalues cross at t = ½: the warm start knows both, and so does not follow the lower.
    rising, falling = 90.0, 110.0
    for t in np.linspace(0, 1, 21):
        spectrum = [*np.linspace(-3, 10, 300), rising + 20 * t, falling - 20 * t, 60.0]
        matrix = _rotated(spectrum, seed)
        if t == 0:
            vectors = _ends(matrix, 1e-3, ends="dominant", keep=3).vectors
        start = torch.cat([vectors, start_vector(len(matrix), matrix)[None]])
        found = extremal_eigenvalues(_rows(matrix), start, rtol=1e-3, ends="dominant", keep=3)
        vectors = found.vectors
        assert found.converged
        assert found.sharpness == pytest.approx(max(spectrum), rel=1e-3)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 50), rtol=TOLERANCES)
def test_the_residuals_are_those_of_the_vectors(spectrum, seed, rtol):
    matrix = _rotated(spectrum, seed)
    found = _ends(matrix, rtol, keep=2)
    rounding = 1e-13 * float(torch.linalg.matrix_norm(matrix, 2))
    top = found.lambda_max >= -found.lambda_min
    pairs = [
        (found.lambda_max, found.residual_max),
        (found.lambda_min, found.residual_min),
    ]
    for vector, (value, residual) in zip(
        found.vectors, pairs if top else pairs[::-1], strict=False
    ):
        assert float(vector.norm()) == pytest.approx(1, abs=1e-12)
        truth = float((matrix @ vector - value * vector).norm())
        assert truth == pytest.approx(residual * found.sharpness, rel=1e-3, abs=rounding)


@pytest.mark.parametrize(("ends", "keep"), [("both", 2), ("dominant", 3), ("dominant", 5)])
@pytest.mark.parametrize("seed", range(8))
def test_exact_eigenvectors_hide_no_larger_eigenvalue_that_they_do_not_couple_to(ends, keep, seed):
    # The old vectors are exact still, so that their residuals say nothing; the last row must.
    generator = torch.Generator().manual_seed(seed)
    bulk = 0.3 * torch.randn(20_000, generator=generator, dtype=torch.float64)
    values = torch.cat([torch.tensor([105.0, 101, 98, 97, 89]).double(), bulk])
    grown = 5 + int(torch.randint(20_000, (1,), generator=generator))
    values[grown] = 200.0
    axes = torch.eye(5, len(values), dtype=torch.float64)
    if ends == "both":
        values[1] = -50.0
    start = torch.cat([axes[:keep], start_vector(len(values), values)[None]])
    found = extremal_eigenvalues(lambda rows: rows * values, start, rtol=1e-3, ends=ends)
    assert found.converged
    assert found.sharpness == pytest.approx(200, rel=1e-3)
    assert found.products <= 40 if ends == "both" else found.products <= 14


@pytest.mark.parametrize("amount", [1e-4, 1e-3])
def test_a_warm_start_of_both_ends_has_a_vector_of_each(amount):
    matrix = _rotated(EDGE)
    before = _ends(matrix, 1e-3, keep=3)
    quotients = (before.vectors @ matrix * before.vectors).sum(dim=1)
    assert quotients.tolist() == pytest.approx([105, 101, before.lambda_min], rel=1e-3)
    moved = _moved(matrix, amount)
    start = torch.cat([before.vectors, start_vector(len(matrix), matrix)[None]])
    warm = extremal_eigenvalues(_rows(moved), start, rtol=1e-3)
    truth = torch.linalg.eigvalsh(moved)
    assert warm.converged
    assert warm.lambda_max == pytest.approx(float(truth[-1]), abs=0.105)
    assert warm.lambda_min == pytest.approx(float(truth[0]), abs=0.105)
    assert 2 * warm.products < _ends(moved, 1e-3).products


def test_rows_of_a_start_that_are_not_finite_do_no_harm():
    matrix = _rotated(EDGE)
    one = start_vector(len(matrix), matrix)
    bad = torch.stack([math.nan * one, math.inf * one, one])
    found = extremal_eigenvalues(_rows(matrix), bad, rtol=1e-6)
    assert found == extremal_eigenvalues(_rows(matrix), one, rtol=1e-6)


def test_a_start_of_many_rows_keeps_to_the_limit_of_products():
    matrix = _rotated(EDGE)
    start = torch.eye(9, len(matrix), dtype=torch.float64)
    found = extremal_eigenvalues(_rows(matrix), start, rtol=1e-6, max_products=4)
    assert found.products == 4
    assert not found.converged


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_basis_stays_orthonormal_over_200_products_and_restarts(dtype, monkeypatch):
    matrix, bases = _rotated([*np.linspace(-10, 100, 600), 101.0, 101.1]).to(dtype), []
    real = Basis.compress

    def spy(basis, weights, values):
        bases.append(basis.vectors[: basis.dimension].double())
        real(basis, weights, values)

    monkeypatch.setattr(Basis, "compress", spy)
    start = start_vector(len(matrix), matrix)
    found = extremal_eigenvalues(_rows(matrix), start, rtol=1e-300, max_products=200)
    assert found.products > 100
    assert len(bases) >= 3
    for basis in bases:
        overlaps = basis @ basis.T - torch.eye(len(basis), dtype=torch.float64)
        assert float(overlaps.abs().max()) <= 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 10**6), (torch.float64, 10**4)])
def test_the_least_tolerance_can_be_reached(dtype, size):
    # One float32 sum over 10⁶ entries is off by more than this tolerance.
    generator = torch.Generator().manual_seed(3)
    bulk = torch.randn(size - 5, generator=generator, dtype=dtype)
    values = torch.cat([bulk, torch.tensor(EDGE[-5:], dtype=dtype)])
    found = extremal_eigenvalues(
        lambda rows: rows * values,
        start_vector(size, values),
        rtol=reachable_rtol(dtype),
        ends="dominant",
    )
    assert found.converged
    assert found.lambda_max == pytest.approx(105, rel=reachable_rtol(dtype))
    assert found.products <= 30


def test_dependent_rows_of_a_start_do_no_harm():
    matrix = _rotated(EDGE)
    one = start_vector(len(matrix), matrix)
    many = torch.stack([one, 2 * one, torch.zeros_like(one), -one])
    found = extremal_eigenvalues(_rows(matrix), many, rtol=1e-6)
    assert found == extremal_eigenvalues(_rows(matrix), one, rtol=1e-6)
    small = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    found = extremal_eigenvalues(_rows(small), torch.eye(5, 2).double() + 0.1, rtol=1e-9)
    assert found.products == 2
    assert found.lambda_max == pytest.approx(3, rel=1e-14)


def test_a_start_of_nothing_is_refused():
    with pytest.raises(ValueError, match="start has no row that is finite and not zero"):
        extremal_eigenvalues(_rows(torch.eye(3)), torch.zeros(3), rtol=1e-3)


def test_every_number_that_steers_can_be_taken_from_another_process():
    # A process that is told another one's numbers takes its decisions, and gives its answer.
    matrix, recorded = _rotated(EDGE), []

    def record(values):
        recorded.append(values.clone())
        return values

    start = start_vector(len(matrix), matrix)
    first = extremal_eigenvalues(_rows(matrix), start, rtol=1e-4, agree=record)
    told = iter(recorded)
    disturbed = matrix + 1e-6 * torch.eye(len(matrix)).double()
    second = extremal_eigenvalues(
        _rows(disturbed), start, rtol=1e-4, agree=lambda values: next(told)
    )
    assert second == first
    assert next(told, None) is None


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_float32_reaches_what_it_promises(rtol):
    # A diagonal operator of 10⁵ parameters, reflected so that no vector is one of the axes.
    generator = torch.Generator().manual_seed(3)
    values = torch.cat([torch.randn(99_995, generator=generator), torch.tensor(EDGE[-5:])])
    mirror = torch.randn(len(values), generator=generator)
    mirror /= mirror.norm()

    def operator(rows):
        def reflected(v):
            return v - 2 * (v @ mirror)[:, None] * mirror

        return reflected(reflected(rows) * values)

    found = extremal_eigenvalues(
        operator, start_vector(len(values), values), rtol=rtol, ends="dominant"
    )
    assert found.converged
    assert found.products <= 30
    assert found.sharpness == pytest.approx(105, rel=1e-6)


def test_the_start_vector_is_the_same_every_time_and_in_every_dtype():
    before = torch.random.get_rng_state()
    double, single = start_vector(1000, torch.empty(0).double()), start_vector(1000, torch.empty(0))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(double, start_vector(1000, double))
    assert torch.equal(double.float(), single)
    assert float(double.norm()) == pytest.approx(1, abs=1e-14)
    assert not torch.equal(double[:999], start_vector(999, double))


def test_the_answer_is_the_same_bits_every_time():
    matrix = _rotated(np.linspace(-1, 2, 80)).float()
    assert _ends(matrix, 1e-4) == _ends(matrix, 1e-4)


def test_where_rounding_stops_the_residual_the_process_ends_and_says_so():
    # Products that are off by 10⁻¹⁴ of the norm, differently each time.
    matrix, generator = _rotated(EDGE), torch.Generator().manual_seed(0)

    def noisy(rows):
        noise = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
        return rows @ matrix.float().double() + 105e-14 * noise / len(matrix) ** 0.5

    start = start_vector(len(matrix), matrix)
    found = extremal_eigenvalues(noisy, start, rtol=1e-15, ends="dominant")
    assert not found.converged
    assert 1e-15 < found.residual < 1e-12
    assert found.products < 60
