"""Digests of samples: the same numbers have the same one, on every machine.

There are two. That of a dataset's content is of the images and labels of its pool and its test set
as they lie in files, in whichever format: a name can have it (``mnist(train=300, digest=…)``). That
of what a problem reads is of its training and test samples, subset and normalisation included.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest_of_arrays(*arrays: NDArray[Any]) -> str:
    """The first 16 hex digits of the SHA-256 of arrays, each with its type and shape before it."""
    found = hashlib.sha256()
    for array in arrays:
        ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        found.update(f"{ordered.dtype.str}{list(ordered.shape)}".encode())
        found.update(ordered.reshape(-1).data)
    return found.hexdigest()[:16]
