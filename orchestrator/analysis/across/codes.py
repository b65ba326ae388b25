"""Values as whole numbers that are equal where the values are, so that groups cost no loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


def codes(column: Any) -> Codes:
    """A number for each value of an Arrow column, NULL being a value of its own.

    >>> codes(pa.array(["a", None, "a"])).tolist()
    [0, 1, 0]
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = whole.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def together(parts: Iterable[Codes], length: int) -> Codes:
    """A number from 0 on for each distinct combination of several codes.

    >>> together([np.array([0, 0, 1]), np.array([5, 5, 5])], 3).tolist()
    [0, 0, 1]
    """
    combined = np.zeros(length, dtype=np.int64)
    for part in parts:
        if len(part):
            _, combined = np.unique(combined * (int(part.max()) + 1) + part, return_inverse=True)
    return combined


def numbers(column: Any) -> Numbers:
    """An Arrow column as float64, NaN where it is NULL."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def numbers_or_null(values: Numbers) -> Any:
    """An Arrow column of float64, NULL where a value is not finite."""
    return pa.array(values, mask=~np.isfinite(values), type=pa.float64())


def distinct_per_group(group: Codes, value: Codes, n_groups: int) -> Codes:
    """How many distinct values each group has; both of shape (rows,), the result (n_groups,).

    >>> distinct_per_group(np.array([0, 0, 1]), np.array([3, 4, 4]), 2).tolist()
    [2, 1]
    """
    _, first = np.unique(together([group, value], len(group)), return_index=True)
    return np.bincount(group[first], minlength=n_groups)
