"""Digests of samples: the same numbers have the same one, on every machine.

There are two. That of a dataset's content is of the images and labels of its pool and its test set
as they lie in files, in whichever format: a name can have it (``mnist(train=300, digest=…)``). That
of what a problem reads is of its training and test samples, subset and normalisation included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Digest:
    """Gathers arrays, each with its shape and type, in the order in which they come."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, shape: tuple[int, ...], parts: Iterable[Array]) -> None:
        """Take in one array, given by parts that follow each other along its first axis."""
        begun = False
        for part in parts:
            ordered = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
            if not begun:
                self._hash.update(f"{ordered.dtype.str}{list(shape)}".encode())
                begun = True
            self._hash.update(memoryview(ordered).cast("B"))

    def __str__(self) -> str:
        """The first 16 hex digits of the SHA-256."""
        return self._hash.hexdigest()[:16]
