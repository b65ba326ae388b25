"""Rounding, overflow and restarts: what long processes and large operators do to the answer."""

import functools
import math

import numpy as np
import pytest
import torch
from support.spectra import EDGE, ends_of, rotated, rows_of

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector
from jobs.curvature.krylov import Bases
from jobs.spec import LEAST_RTOL


def test_an_invariant_space_is_enough_even_where_the_tolerance_is_below_rounding():
    # A start vector within one eigenspace says all there is to know after one product.
    found = ends_of(torch.eye(64, dtype=torch.float32), 1e-12)
    assert found.sharpness == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("first_good", [0, 4])
def test_an_operator_that_is_not_finite_gives_no_answer_and_no_exception(bad, first_good):
    matrix, calls = rotated(np.linspace(-1, 1, 50)), []

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
    real = np.linalg.eigh

    def spy(matrix):
        seen.append(matrix)
        return real(matrix)

    monkeypatch.setattr(np.linalg, "eigh", spy)
    found = ends_of(rotated(spectrum), 1e-300, max_products=1000, most_vectors=1000)
    assert found.products > 60
    assert not found.converged
    values = np.linalg.eigvalsh(seen[-1][0])
    np.testing.assert_allclose(values[-2:], [1e3, 2e3], rtol=1e-12)
    assert values[-3] < 1 + 1e-9


CLUSTERED = [*np.linspace(0, 100, 1500) ** 1.02, *np.linspace(110.2, 110.3, 5)]


@functools.cache
def _not_restarted(ends):
    return ends_of(rotated(CLUSTERED), 1e-8, most_vectors=2000, ends=ends, max_products=2000)


@pytest.mark.parametrize("most_vectors", [20, 40])
@pytest.mark.parametrize("ends", ["both", "dominant"])
def test_a_restarted_process_finds_the_same_with_few_more_products(most_vectors, ends):
    whole, options = _not_restarted(ends), {"ends": ends, "max_products": 2000}
    restarted = ends_of(rotated(CLUSTERED), 1e-8, most_vectors=most_vectors, **options)
    assert whole.products > 40
    assert restarted.converged
    assert restarted.lambda_max == pytest.approx(110.3, rel=1e-12)
    if ends == "both":
        assert restarted.lambda_min == pytest.approx(whole.lambda_min, abs=1e-6)
    assert restarted.products <= 2 * whole.products


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_basis_stays_orthonormal_over_200_products_and_restarts(dtype, monkeypatch):
    matrix, bases = rotated([*np.linspace(-10, 100, 600), 101.0, 101.1]).to(dtype), []
    real = Bases.compress

    def spy(basis, weights, values):
        bases.append(basis.vectors[0, : basis.dimension].double())
        real(basis, weights, values)

    monkeypatch.setattr(Bases, "compress", spy)
    start = start_vector(len(matrix), matrix)
    found = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-300, max_products=200)
    assert found.products > 100
    assert len(bases) >= 3
    for basis in bases:
        overlaps = basis @ basis.T - torch.eye(len(basis), dtype=torch.float64)
        # What a scalar product of so many numbers is rounded by.
        assert float(overlaps.abs().max()) <= 2 * len(matrix) ** 0.5 * torch.finfo(dtype).eps


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 10**6), (torch.float64, 10**4)])
def test_the_least_tolerance_can_be_reached(dtype, size):
    # One float32 sum over 10⁶ entries is off by more than this tolerance.
    generator = torch.Generator().manual_seed(3)
    bulk = torch.randn(size - 5, generator=generator, dtype=dtype)
    values = torch.cat([bulk, torch.tensor(EDGE[-5:], dtype=dtype)])
    found = extremal_eigenvalues(
        lambda rows: rows * values,
        start_vector(size, values),
        rtol=LEAST_RTOL[str(dtype).removeprefix("torch.")],
        ends="dominant",
    )
    assert found.converged
    assert found.lambda_max == pytest.approx(105, rel=LEAST_RTOL[str(dtype).removeprefix("torch.")])
    assert found.products <= 30


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


def test_where_rounding_stops_the_residual_the_process_ends_and_says_so():
    # Products that are off by 10⁻¹⁴ of the norm, differently each time.
    matrix, generator = rotated(EDGE), torch.Generator().manual_seed(0)

    def noisy(rows):
        noise = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
        return rows @ matrix.float().double() + 105e-14 * noise / len(matrix) ** 0.5

    start = start_vector(len(matrix), matrix)
    found = extremal_eigenvalues(noisy, start, rtol=1e-15, ends="dominant")
    assert not found.converged
    assert 1e-15 < found.residual < 1e-12
    assert found.products < 60
