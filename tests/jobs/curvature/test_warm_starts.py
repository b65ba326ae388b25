"""Starts from several vectors, such as the eigenvectors of a similar operator."""

import math

import numpy as np
import pytest
import torch
from support.spectra import EDGE, ends_of, rotated, rows_of

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector


def moved_by(matrix, amount, seed=5):
    """The matrix after a small symmetric change of its norm's order times ``amount``."""
    generator = torch.Generator().manual_seed(seed)
    change = torch.randn(matrix.shape, generator=generator, dtype=matrix.dtype)
    change = (change + change.T) / torch.linalg.matrix_norm(change + change.T, 2)
    return matrix + amount * torch.linalg.matrix_norm(matrix, 2) * change


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize("amount", [1e-4, 1e-3, 1e-2])
def test_a_warm_start_costs_less_and_finds_the_same(amount, ends):
    matrix = rotated(EDGE)
    moved = moved_by(matrix, amount)
    truth = float(torch.linalg.eigvalsh(moved)[-1])
    before = ends_of(matrix, 1e-3, ends=ends, keep=3)
    assert before.vectors.shape == (3, len(matrix))
    assert torch.allclose(before.vectors @ before.vectors.T, torch.eye(3).double(), atol=1e-12)
    start = torch.cat([before.vectors, start_vector(len(matrix), matrix)[None]])
    warm = extremal_eigenvalues(rows_of(moved), start, rtol=1e-3, ends="dominant")
    cold = ends_of(moved, 1e-3, ends="dominant")
    assert warm.converged
    assert warm.sharpness == pytest.approx(truth, rel=1e-3)
    assert warm.products < cold.products


@pytest.mark.parametrize("seed", range(5))
def test_a_warm_start_follows_eigenvalues_that_cross(seed):
    # Two eigenvalues cross at t = ½: the warm start knows both, and so does not follow the lower.
    rising, falling = 90.0, 110.0
    for t in np.linspace(0, 1, 21):
        spectrum = [*np.linspace(-3, 10, 300), rising + 20 * t, falling - 20 * t, 60.0]
        matrix = rotated(spectrum, seed)
        if t == 0:
            vectors = ends_of(matrix, 1e-3, ends="dominant", keep=3).vectors
        start = torch.cat([vectors, start_vector(len(matrix), matrix)[None]])
        found = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-3, ends="dominant", keep=3)
        vectors = found.vectors
        assert found.converged
        assert found.sharpness == pytest.approx(max(spectrum), rel=1e-3)


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
    matrix = rotated(EDGE)
    before = ends_of(matrix, 1e-3, keep=3)
    quotients = (before.vectors @ matrix * before.vectors).sum(dim=1)
    assert quotients.tolist() == pytest.approx([105, 101, before.lambda_min], rel=1e-3)
    moved = moved_by(matrix, amount)
    start = torch.cat([before.vectors, start_vector(len(matrix), matrix)[None]])
    warm = extremal_eigenvalues(rows_of(moved), start, rtol=1e-3)
    truth = torch.linalg.eigvalsh(moved)
    assert warm.converged
    assert warm.lambda_max == pytest.approx(float(truth[-1]), abs=0.105)
    assert warm.lambda_min == pytest.approx(float(truth[0]), abs=0.105)
    assert 2 * warm.products < ends_of(moved, 1e-3).products


def test_rows_of_a_start_that_are_not_finite_do_no_harm():
    matrix = rotated(EDGE)
    one = start_vector(len(matrix), matrix)
    bad = torch.stack([math.nan * one, math.inf * one, one])
    found = extremal_eigenvalues(rows_of(matrix), bad, rtol=1e-6)
    assert found == extremal_eigenvalues(rows_of(matrix), one, rtol=1e-6)


def test_a_start_of_many_rows_keeps_to_the_limit_of_products():
    matrix = rotated(EDGE)
    start = torch.eye(9, len(matrix), dtype=torch.float64)
    found = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-6, max_products=4)
    assert found.products == 4
    assert not found.converged


def test_dependent_rows_of_a_start_do_no_harm():
    matrix = rotated(EDGE)
    one = start_vector(len(matrix), matrix)
    many = torch.stack([one, 2 * one, torch.zeros_like(one), -one])
    found = extremal_eigenvalues(rows_of(matrix), many, rtol=1e-6)
    assert found == extremal_eigenvalues(rows_of(matrix), one, rtol=1e-6)
    small = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    found = extremal_eigenvalues(rows_of(small), torch.eye(5, 2).double() + 0.1, rtol=1e-9)
    assert found.products == 2
    assert found.lambda_max == pytest.approx(3, rel=1e-14)


def test_a_start_of_nothing_is_refused():
    with pytest.raises(ValueError, match="start has no row that is finite and not zero"):
        extremal_eigenvalues(rows_of(torch.eye(3)), torch.zeros(3), rtol=1e-3)
