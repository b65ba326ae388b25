"""The eigenpairs above a level, against matrices whose eigenvalues are known."""

import math

import pytest
import torch

from jobs.curvature.leading import GUARDS, MOST_ABOVE, eigenpairs_above

SIZE = 200


def _matrix(top, seed=0):
    """A symmetric matrix with these eigenvalues at the top, and others from -2 to 1."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn((SIZE, SIZE), generator=generator, dtype=torch.float64))
    rest = torch.linspace(-2, 1, SIZE - len(top), dtype=torch.float64)
    values = torch.cat([torch.tensor(top, dtype=torch.float64), rest])
    return (basis * values) @ basis.T, basis[:, : len(top)].T


def _found(matrix, level, start=None, rtol=1e-6, **further):
    like = torch.zeros(SIZE, dtype=torch.float64)
    return eigenpairs_above(
        lambda vectors: vectors @ matrix, start, level, like=like, rtol=rtol, **further
    )


@pytest.mark.parametrize("top", [[5.0], [5.0, 4.9, 4.8], [3.0, 2.9999, 2.5, 2.2], []])
@pytest.mark.parametrize("warm", [False, True])
def test_they_are_all_that_are_above_and_no_other(top, warm):
    matrix, vectors = _matrix(top)
    start = vectors + 0.05 if warm and top else None
    found = _found(matrix, 2.0, start)
    assert found.above == len(top)
    assert found.values[: found.above] == pytest.approx(top, rel=1e-9)
    assert len(found.vectors) == len(found.values) == len(top) + GUARDS
    overlap = (found.vectors[: len(top)] * vectors).sum(1).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=1e-6, atol=0)


def test_equal_eigenvalues_are_found_as_often_as_they_are_there():
    matrix, _ = _matrix([4.0, 4.0, 4.0])
    assert _found(matrix, 3.0).values[:3] == pytest.approx([4.0] * 3, rel=1e-9)


def test_one_that_comes_up_between_two_measurements_is_found():
    """The guards of the measurement before are the next ones below the level."""
    matrix, _ = _matrix([4.0, 1.9])
    before = _found(matrix, 2.0)
    assert before.above == 1
    risen, _ = _matrix([4.0, 2.1])
    after = _found(risen, 2.0, before.vectors)
    assert after.values[:2] == pytest.approx([4.0, 2.1], rel=1e-9)
    assert after.above == 2


def test_large_negative_eigenvalues_are_not_above():
    matrix, _ = _matrix([3.0, -9.0])
    assert _found(matrix, 2.0).above == 1


def test_no_more_than_the_most_are_said_to_be_above():
    matrix, _ = _matrix([5.0 - 0.01 * n for n in range(MOST_ABOVE + 4)])
    assert _found(matrix, 2.0, rtol=1e-3).above == MOST_ABOVE


def test_a_matrix_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="not finite"):
        _found(torch.full((SIZE, SIZE), math.nan, dtype=torch.float64), 2.0)
