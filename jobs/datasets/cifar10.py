"""``cifar10``: 50,000 and 10,000 pictures of 3×32×32 in ten classes, in either official version.

The binary and the python version hold the same images in the same order. Samples are counted
through the files ``data_batch_1`` to ``data_batch_5``, 10,000 in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jobs.datasets import cifar_pickle
from jobs.datasets.images import Constants, ImageFiles, Images
from jobs.datasets.root import data_root, get, missing
from jobs.datasets.source import DatasetError, Shape, checksum

FULL_TRAIN = 50_000
BATCH = 10_000
"""Images in each file."""
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
"""Bytes of an image with its label in the binary version."""

CONSTANTS: dict[str, Constants] = {
    "channel": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Red, green and blue over the official training images, as they are commonly rounded."""

_BINARY = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

OFFICIAL_CIFAR: Mapping[str, str] = {
    **{f"cifar-10-batches-bin/{name}": f"sha256:{digest}" for name, digest in _BINARY.items()},
    **{f"cifar-10-batches-py/{name}": f"md5:{digest}" for name, digest in _PYTHON.items()},
}
"""``algorithm:digest`` of the official files by the path from the data root.

The SHA-256 of the binary files are of those in the archive with the published MD5
c32a1d4ab5d03f1284b67883e8d87530. Of the files of the python version torchvision publishes the MD5.
"""


class Version(NamedTuple):
    """How the files of one version are named and read.

    ``most_images`` says by a file's size how many images it may have, ``read`` gives the first
    ones by channel, row and column.
    """

    suffix: str
    most_images: Callable[[Path], int]
    read: Callable[[Path, int], Images]


def _records(path: Path) -> int:
    """How many images a binary file has; raises DatasetError where the last one is not whole."""
    size = path.stat().st_size
    if size % RECORD:
        raise DatasetError(
            f"{path} has {size} bytes; it must have a multiple of {RECORD}, the size of an image "
            "with its label"
        )
    return size // RECORD


def _read_records(path: Path, count: int) -> Images:
    records = np.fromfile(path, np.uint8, count=count * RECORD).reshape(count, RECORD)
    return Images(records[:, 1:], records[:, 0].astype(np.int64))


FORMATS: dict[str, Version] = {
    "cifar-10-batches-bin": Version(".bin", _records, _read_records),
    "cifar-10-batches-py": Version("", cifar_pickle.most_images, cifar_pickle.read),
}
"""Versions by folder; the first folder that exists is read."""


class Cifar10(ImageFiles):
    """The first ``train`` training images and the first ``test`` test images.

    Without options these are all 50,000 and 10,000.
    """

    shape = Shape((3, 32, 32), outputs=10)
    published = CONSTANTS
    name = "cifar10"

    def __init__(self, train: int, test: int, digest: str | None = None) -> None:
        self.pool, self.tested, self.declared = train, test, digest
        self.smallest_class = 5_000 if train == FULL_TRAIN and digest is None else 0

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def _folder(self) -> Path:
        root = data_root()
        there = [root / name for name in FORMATS if (root / name).is_dir()]
        return there[0] if there else root / next(iter(FORMATS))

    def check_there(self) -> None:
        """Make sure that the files that are needed are there and long enough."""
        for path, wanted in [*self._train_files(), *self._test_files()]:
            if not path.is_file():
                raise missing("cifar10", path)
            found = self._format.most_images(path)
            if found < wanted or (path.suffix == ".bin" and found > BATCH):
                option = "test" if path.name.startswith("test") else "train"
                raise DatasetError(
                    f"{path} has {found} images; it must have {wanted} for dataset cifar10. "
                    f"For the official files, {get('cifar10')}. To compute with fewer, "
                    f"name how many, as in cifar10({option}={min(found, BATCH) or 1})"
                )

    def files(self) -> list[Path]:
        """The files that hold the first images."""
        return [path for path, _ in (*self._train_files(), *self._test_files())]

    def why_not_official(self, path: Path) -> str | None:
        """By SHA-256, and by MD5 in the python version."""
        algorithm, expected = OFFICIAL_CIFAR[f"{path.parent.name}/{path.name}"].split(":")
        found = checksum(path, algorithm)
        if found == expected:
            return None
        return f"its {algorithm.upper().replace('SHA', 'SHA-')} is {found}; it must be {expected}"

    def read_pool(self) -> Images:
        """The first training images."""
        return self._read(self._train_files())

    def read_test(self) -> Images:
        """The first test images."""
        return self._read(self._test_files())

    @property
    def _format(self) -> Version:
        return FORMATS[self._folder.name]

    def _train_files(self) -> Iterator[tuple[Path, int]]:
        """Files, and the number of images that is needed of each: all, but for the last file."""
        for number, begin in enumerate(range(0, self.pool, BATCH), start=1):
            name = f"data_batch_{number}{self._format.suffix}"
            yield self._folder / name, min(BATCH, self.pool - begin)

    def _test_files(self) -> Iterator[tuple[Path, int]]:
        yield self._folder / f"test_batch{self._format.suffix}", self.tested

    def _read(self, files: Iterable[tuple[Path, int]]) -> Images:
        wanted = list(files)
        total = sum(count for _, count in wanted)
        pixels = np.empty((total, self.shape.features), np.uint8)
        labels = np.empty(total, np.int64)
        begin = 0
        for path, count in wanted:
            part = self._format.read(path, count)
            if part.labels.min() < 0 or part.labels.max() > 9:
                raise DatasetError(f"{path} has labels that are no classes; they must be 0 to 9")
            pixels[begin : begin + count], labels[begin : begin + count] = part.pixels, part.labels
            begin += count
        return Images(pixels, labels)
