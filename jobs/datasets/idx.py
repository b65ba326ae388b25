"""IDX files, the format of MNIST: a magic number, the sizes, and bytes; packed by gzip or not."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.root import get, here, program
from jobs.datasets.source import DatasetError

UNSIGNED_BYTES = 0x08
"""The third byte of the magic number; the fourth is the number of dimensions."""
PIECE = 2**20
"""Bytes that are unpacked at once where only their number matters."""


def find(folder: Path, name: str) -> Path | None:
    """The file of that name, or the one with ``.gz`` after it."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def sizes(path: Path, dimensions: int) -> tuple[int, ...]:
    """The sizes that the header names, which the length of the file agrees with.

    Raises:
        DatasetError: it is no IDX file of unsigned bytes with this number of dimensions, or not
            whole.
    """
    with _opened(path) as file:
        header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if len(header) < 4 + 4 * dimensions or header[:4] != magic:
        raise DatasetError(
            f"{path} begins with {header[:4].hex() or 'nothing'}; it must be an IDX file that "
            f"begins with {magic.hex()}"
        )
    found = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    expected = len(header) + math.prod(found)
    length = _unpacked_length(path, expected)
    if length != expected:
        more = "at least " if path.suffix == ".gz" and length > expected + PIECE else ""
        raise DatasetError(
            f"{path} holds {more}{length} bytes; it must hold {expected} for the sizes "
            f"{'×'.join(map(str, found))} in its header"
        )
    return found


def read(path: Path, dimensions: int, count: int) -> NDArray[np.uint8]:
    """The first ``count`` items, of shape (count, …).

    Raises:
        DatasetError: as in :func:`sizes`, or the file ends early or is damaged.
    """
    found = sizes(path, dimensions)
    wanted = count * math.prod(found[1:])
    with _opened(path) as file:
        file.read(4 + 4 * dimensions)
        content = file.read(wanted)
        while path.suffix == ".gz" and file.read(PIECE):
            pass  # to the end, where gzip compares its checksum
    if len(content) < wanted:
        raise DatasetError(f"{path} has fewer than {count} items; it must have as many")
    return np.frombuffer(content, np.uint8).reshape(count, *found[1:])


def _unpacked_length(path: Path, expected: int) -> int:
    """In bytes; of a packed file that is far too long, those that were counted so far."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as packed:
        packed.seek(-4, 2)
        if int.from_bytes(packed.read(4), "little") == expected % 2**32:
            return expected
    # Only a file that is whole, in one part and without padding says its length at the end.
    length = 0
    with _opened(path) as file:
        while length <= expected + PIECE and (piece := file.read(PIECE)):
            length += len(piece)
    return length


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The unpacked content; raises DatasetError where reading shows that the file is damaged."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        dataset = path.parent.name
        raise DatasetError(
            f"{path} is truncated or damaged ({error}); it must be a whole IDX file packed by "
            f"gzip: move it away, and {get(dataset)}; to compare all files, run: "
            f"{here()}{program()} data check {dataset}"
        ) from None
