"""The spectra of several operators at once are those that each has alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.spectra import rotated, rows_of
from torch import Tensor

from jobs.curvature.eigenvalues import (
    extremal_eigenvalues,
    extremal_eigenvalues_together,
    start_vector,
)
from jobs.curvature.ritz import ExtremalEigenvalues
from jobs.curvature.sharpness import SharpnessMeter, measure_together
from jobs.numerics import reproducible
from jobs.problem import pose
from jobs.spec import Problem

SIZE = 120
SPECTRA = [
    np.linspace(-1, 1, SIZE) + 3 * np.eye(SIZE)[-1],
    [*np.linspace(-1e-4, 1e-4, SIZE - 5), 50.0, 20.0, 10.0, 3.0, -0.5],
    [*np.linspace(-3, 2, SIZE - 1), -9.0],
    np.linspace(0, 100, SIZE) ** 1.02,
    [*np.linspace(-1, 1, SIZE - 2), 30.0, 29.9],
]


class Operators:
    """Matrices, shape (K, P, P); notes how many there were at each application."""

    def __init__(self, matrices: list[Tensor]) -> None:
        self.matrices, self.sizes = torch.stack(matrices), list[int]()

    def __call__(self, vectors: Tensor) -> Tensor:
        self.sizes.append(len(vectors))
        return vectors @ self.matrices

    def only(self, rows: Tensor) -> None:
        self.matrices = self.matrices[rows]


def assert_alike(found: ExtremalEigenvalues | None, alone: ExtremalEigenvalues, dtype) -> None:
    """The same products and judgement, and values that differ by what rounding does to them.

    Where an end has not converged, its value and its residual are sensitive to rounding.
    """
    assert found is not None
    assert (found.products, found.converged) == (alone.products, alone.converged)
    assert found.sharpness_converged == alone.sharpness_converged
    rounding = torch.finfo(dtype).eps
    for end in ("max", "min"):
        values, residuals = (
            [getattr(one, f"{name}_{end}") for one in (found, alone)]
            for name in ("lambda", "residual")
        )
        assert residuals[0] == pytest.approx(
            residuals[1], rel=0.1 if dtype == torch.float64 else 0.5, abs=10 * rounding
        )
        near = (100 * rounding + residuals[1] ** 2) * alone.sharpness
        assert values[0] == pytest.approx(values[1], abs=near)


@pytest.mark.parametrize("ends", ["both", "dominant"])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_each_has_what_it_has_alone_and_leaves_when_it_is_done(ends, dtype, rtol) -> None:
    matrices = [rotated(list(spectrum), seed).to(dtype) for seed, spectrum in enumerate(SPECTRA)]
    start = start_vector(SIZE, matrices[0])
    operators = Operators(matrices)
    asked = {"rtol": rtol, "ends": ends, "keep": 3, "max_products": 500}
    together = extremal_eigenvalues_together(
        operators, start.repeat(len(matrices), 1, 1), only=operators.only, **asked
    )
    alone = [extremal_eigenvalues(rows_of(matrix), start, **asked) for matrix in matrices]
    for one, other in zip(together, alone, strict=True):
        assert_alike(one, other, dtype)
        assert one is not None
        assert one.vectors is not None
        assert other.vectors is not None
        overlap = float(one.vectors[0] @ other.vectors[0])
        assert abs(overlap) == pytest.approx(1, abs=1e-4 if dtype == torch.float32 else 1e-10)
    assert len({one.products for one in alone}) > 1
    assert operators.sizes[0] == len(matrices) > 2 * operators.sizes[-1]


def test_warm_starts_go_together_too() -> None:
    matrices = [rotated(list(spectrum), 7).double() for spectrum in SPECTRA]
    moved = [matrix + 1e-3 * rotated(list(SPECTRA[0]), 8).double() for matrix in matrices]
    begin = start_vector(SIZE, matrices[0])
    starts = []
    for matrix in matrices:
        before = extremal_eigenvalues(rows_of(matrix), begin, rtol=1e-6, keep=3)
        assert before.vectors is not None
        starts.append(torch.cat([before.vectors, start_vector(SIZE, matrix, 1)[None]]))
    together = extremal_eigenvalues_together(
        Operators(moved), torch.stack(starts), rtol=1e-3, ends="dominant"
    )
    for found, matrix, start in zip(together, moved, starts, strict=True):
        alone = extremal_eigenvalues(rows_of(matrix), start, rtol=1e-3, ends="dominant")
        assert_alike(found, alone, torch.float64)


def test_what_one_operator_has_does_not_depend_on_the_others() -> None:
    matrices = [rotated(list(spectrum), 3).float() for spectrum in SPECTRA]
    start = start_vector(SIZE, matrices[0])[None]

    def of(chosen: list[int]) -> list[ExtremalEigenvalues | None]:
        operators = Operators([matrices[i] for i in chosen])
        return extremal_eigenvalues_together(
            operators, start.repeat(len(chosen), 1, 1), rtol=1e-4, only=operators.only
        )

    whole = of([0, 1, 2, 3, 4])
    assert of([3, 1]) == [whole[3], whole[1]]
    assert of([2]) == [whole[2]]


def test_one_that_falls_out_of_step_is_left_to_be_measured_alone() -> None:
    """The identity maps every vector into its space: nothing is added to it."""
    matrices = [torch.eye(SIZE).double(), rotated(list(SPECTRA[1]), 2).double()]
    start = start_vector(SIZE, matrices[0])
    dependent = torch.stack(
        [torch.stack([start, 2 * start]), torch.eye(SIZE, dtype=start.dtype)[:2]]
    )
    first, second = extremal_eigenvalues_together(Operators(matrices), dependent, rtol=1e-6)
    assert first is None
    assert_alike(
        second, extremal_eigenvalues(rows_of(matrices[1]), dependent[1], rtol=1e-6), torch.float64
    )


def test_numbers_that_are_not_finite_end_one_search_and_no_other() -> None:
    matrices = [torch.full((SIZE, SIZE), float("nan")).double(), rotated(list(SPECTRA[1])).double()]
    start = start_vector(SIZE, matrices[1])
    broken, whole = extremal_eigenvalues_together(
        Operators(matrices), start.repeat(2, 1, 1), rtol=1e-6
    )
    assert broken is not None
    assert not broken.converged
    assert np.isnan(broken.sharpness)
    assert_alike(whole, extremal_eigenvalues(rows_of(matrices[1]), start, rtol=1e-6), torch.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [6, 7, 8, 9, 12])
@pytest.mark.parametrize("samples", [20, 50])
def test_no_bit_depends_on_how_many_are_measured_together(samples, width, dtype):
    """For any number of parameters: kernels of products round by where a row begins."""
    problem = Problem(
        dataset="digits",
        n_train=samples,
        width=width,
        depth=1,
        activation="tanh",
        loss="ce",
        dtype=dtype,
    )
    with reproducible(threads=1):
        objective, _, theta = pose(problem)
        thetas = torch.stack([theta * (1 + 0.1 * number) for number in range(5)])

        def sharpness(rows: Tensor) -> list[tuple[float, ...]]:
            meters = [SharpnessMeter(objective.apart(), 1e-3) for _ in rows]
            found = []
            for ends in ("both", "dominant"):  # cold, then warm
                measured = measure_together(meters, rows, ends)
                found.append([(one.lambda_max, one.lambda_min, one.residual) for one in measured])
            return [cold + warm for cold, warm in zip(*found, strict=True)]

        alone = [sharpness(row[None])[0] for row in thetas]
        assert sharpness(thetas) == alone
        assert sharpness(thetas[1:3]) == alone[1:3]
