"""Matrices with a prescribed spectrum, and the eigenvalues that the solver finds of them."""

import functools

import numpy as np
import torch
from hypothesis import strategies as st

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector


def rotated(eigenvalues, seed=0):
    """A dense float64 matrix with these eigenvalues in a random basis."""
    return _rotated(tuple(eigenvalues), seed).clone()


@functools.lru_cache(maxsize=4)
def _rotated(eigenvalues, seed):
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(random)
    matrix = basis @ torch.diag(values) @ basis.T
    return (matrix + matrix.T) / 2


def rows_of(matrix):
    """The operator of a symmetric matrix, applied to the rows of another one."""
    return lambda rows: rows @ matrix


def ends_of(matrix, rtol, **options):
    start = start_vector(len(matrix), matrix)
    return extremal_eigenvalues(rows_of(matrix), start, rtol=rtol, **options)


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


EDGE = [*np.linspace(-3, 10, 300), 50.0, 80.0, 98.0, 101.0, 105.0]
"""Like the Hessian of a network at the edge of stability: a bulk, and outliers close together."""
