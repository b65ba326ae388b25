"""Small datasets in the official file formats, written from scratch."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from jobs import datasets
from jobs.datasets.images import ImageFiles

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
"""Real images in the official formats, beside a checkout that has them."""


def by_digest(name: str) -> str:
    """A dataset of files by the digest of what lies there: these are not the official ones."""
    source = datasets.find(name)
    assert isinstance(source, ImageFiles)
    return source.called(source.content())


def random_images(count: int, features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of shape (count, features) and labels 0 to 9 in turn, shuffled."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, features), dtype=np.uint8)
    return pixels, generator.permutation(np.arange(count) % 10).astype(np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    """Unsigned bytes as an IDX file: 0, 0, the type 8, the dimensions, the sizes, the bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write_idx(
    folder: Path, part: str, pixels: np.ndarray, labels: np.ndarray, *, packed: bool = True
) -> None:
    """Images of 28×28 and labels as ``train-…`` or ``t10k-…``, packed by gzip or not."""
    folder.mkdir(parents=True, exist_ok=True)
    for content, array in (("images-idx3", pixels.reshape(-1, 28, 28)), ("labels-idx1", labels)):
        name = f"{part}-{content}-ubyte"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array), mtime=0))
        else:
            (folder / name).write_bytes(idx_bytes(array))


def cifar_binary_bytes(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """Records of a label and 3,072 bytes."""
    return np.concatenate([labels[:, None], pixels], axis=1).tobytes()


def cifar_pickle_bytes(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """What Python 2 wrote: protocol 2, texts as bytes, the array by numpy's two functions."""

    def text(content: bytes) -> bytes:
        if len(content) < 256:
            return b"U" + struct.pack("<B", len(content)) + content
        return b"T" + struct.pack("<i", len(content)) + content

    def whole(value: int) -> bytes:
        if 0 <= value < 256:
            return b"K" + struct.pack("<B", value)
        return (
            b"M" + struct.pack("<H", value)
            if 0 <= value < 65536
            else b"J" + struct.pack("<i", value)
        )

    kind = b"cnumpy\ndtype\nq\x06" + text(b"u1") + whole(0) + whole(1) + b"\x87Rq\x07"
    kind += b"(" + whole(3) + text(b"|") + b"NNN" + whole(-1) + whole(-1) + whole(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x08cnumpy\nndarray\nq\x09"
    array += whole(0) + b"\x85" + text(b"b") + b"\x87Rq\x0a("
    array += whole(1) + whole(pixels.shape[0]) + whole(pixels.shape[1]) + b"\x86" + kind
    array += b"\x89" + text(pixels.tobytes()) + b"tb"
    names = b"".join(text(b"picture_%d.png" % number) for number in range(len(labels)))
    content = b"\x80\x02}q\x01(" + text(b"batch_label") + b"q\x02" + text(b"batch 1 of 5")
    content += text(b"labels") + b"]q\x04(" + b"".join(map(whole, labels.tolist())) + b"e"
    content += text(b"data") + array + text(b"filenames") + b"]q\x05(" + names + b"eu."
    return content
