"""``cifar10``: 50,000 and 10,000 pictures of 3×32×32 in ten classes, in either official version.

The binary and the python version hold the same images in the same order. Samples are counted
through the files ``data_batch_1`` to ``data_batch_5``, 10,000 in each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from jobs.datasets import cifar_binary, cifar_pickle
from jobs.datasets.images import ImageFiles, Images
from jobs.datasets.normalization import Constants
from jobs.datasets.official_cifar import OFFICIAL_CIFAR
from jobs.datasets.root import data_root, get, missing
from jobs.datasets.source import DatasetError, Shape

FULL_TRAIN = 50_000
BATCH = 10_000
"""Images in each file."""

FORMATS: dict[str, ModuleType] = {
    "cifar-10-batches-bin": cifar_binary,
    "cifar-10-batches-py": cifar_pickle,
}
"""Readers by folder, the first folder that is there being taken."""

CONSTANTS: dict[str, Constants] = {
    "channel": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Red, green and blue over the official training images, as everybody rounds them."""


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
            found: int = self._format.most_images(path)
            if found < wanted or (self._format is cifar_binary and found > BATCH):
                option = "test" if path.name.startswith("test") else "train"
                raise DatasetError(
                    f"{path} has {found} images; it must have {wanted} for dataset cifar10. "
                    f"For the official files, {get('cifar10')}. To compute with fewer, "
                    f"name how many, as in cifar10({option}={min(found, BATCH) or 1})"
                )

    def files(self) -> list[Path]:
        """Those that the images that count begin in."""
        return [path for path, _ in (*self._train_files(), *self._test_files())]

    def why_not_official(self, path: Path) -> str | None:
        """Compared by SHA-256, and by MD5 in the python version."""
        algorithm, expected = OFFICIAL_CIFAR[f"{path.parent.name}/{path.name}"].split(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
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
    def _format(self) -> ModuleType:
        return FORMATS[self._folder.name]

    def _train_files(self) -> Iterator[tuple[Path, int]]:
        """Files and how many images are wanted of each: all of them, but for the last file."""
        for number, begin in enumerate(range(0, self.pool, BATCH), start=1):
            name = f"data_batch_{number}{self._format.SUFFIX}"
            yield self._folder / name, min(BATCH, self.pool - begin)

    def _test_files(self) -> Iterator[tuple[Path, int]]:
        yield self._folder / f"test_batch{self._format.SUFFIX}", self.tested

    def _read(self, files: Iterable[tuple[Path, int]]) -> Images:
        wanted = list(files)
        total = sum(count for _, count in wanted)
        pixels = np.empty((total, self.shape.features), np.uint8)
        labels = np.empty(total, np.int64)
        begin = 0
        for path, count in wanted:
            part: Images = self._format.read(path, count)
            if part.labels.min() < 0 or part.labels.max() > 9:
                raise DatasetError(f"{path} has labels that are no classes; they must be 0 to 9")
            pixels[begin : begin + count], labels[begin : begin + count] = part.pixels, part.labels
            begin += count
        return Images(pixels, labels)
