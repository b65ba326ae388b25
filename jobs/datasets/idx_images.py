"""Images in four IDX files: those of MNIST, and of datasets made in its likeness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import idx
from jobs.datasets.images import ImageFiles, Images
from jobs.datasets.normalization import Constants
from jobs.datasets.official_idx import refuse_other_dataset, why_not_official
from jobs.datasets.root import data_root, get, missing
from jobs.datasets.source import DatasetError, Shape

FULL = {"train": 60_000, "t10k": 10_000}
"""Samples in the official files, by the beginning of their names."""


class IdxImages(ImageFiles):
    """The first ``train`` training images and the first ``test`` test images of a folder.

    Without options these are all 60,000 and 10,000, and the files must have exactly as many.
    """

    shape = Shape((1, 28, 28), outputs=10)

    def __init__(
        self,
        name: str,
        train: int,
        test: int,
        digest: str | None,
        *,
        published: Mapping[str, Constants],
        smallest_class: int,
    ) -> None:
        self.name, self.pool, self.tested, self.declared = name, train, test, digest
        self.published = published
        official = train == FULL["train"] and digest is None
        self.smallest_class = smallest_class if official else 0

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def _folder(self) -> Path:
        return data_root() / self.name

    def check_there(self) -> None:
        """Make sure that all four files are there, whole, and have enough images and labels."""
        for part, wanted in (("train", self.pool), ("t10k", self.tested)):
            images, labels = self._file(part, "images-idx3"), self._file(part, "labels-idx1")
            count, height, width = idx.sizes(images, 3)
            if (height, width) != self.shape.input[1:]:
                raise DatasetError(f"{images} has images of {height}×{width}; they must be 28×28")
            for path in (images, labels):
                refuse_other_dataset(path, self.name)
            (labelled,) = idx.sizes(labels, 1)
            if labelled != count:
                raise DatasetError(
                    f"{labels} has {labelled} labels; it must have {count}, one for each image"
                )
            self._check_count(part, images, count, wanted)

    def files(self) -> list[Path]:
        """Images and labels of both parts."""
        contents = ("images-idx3", "labels-idx1")
        return [self._file(part, content) for part in FULL for content in contents]

    def why_not_official(self, path: Path) -> str | None:
        """Compared by SHA-256."""
        return why_not_official(path, self.name)

    def read_pool(self) -> Images:
        """The first training images."""
        return self._read("train", self.pool)

    def read_test(self) -> Images:
        """The first test images."""
        return self._read("t10k", self.tested)

    def labels(self) -> NDArray[np.int64]:
        """The classes of the pool, without its images."""
        return self._labels("train", self.pool)

    def _check_count(self, part: str, path: Path, count: int, wanted: int) -> None:
        if wanted <= count <= FULL[part]:
            return
        option = "train" if part == "train" else "test"
        raise DatasetError(
            f"{path} has {count} images; it must have {wanted} for dataset {self.name}. "
            f"For the official files, {get(self.name)}. To compute with fewer, name how many, as "
            f"in {self.name}({option}={min(count, FULL[part])})"
        )

    def _read(self, part: str, count: int) -> Images:
        pixels = idx.read(self._file(part, "images-idx3"), 3, count)
        return Images(pixels.reshape(count, -1), self._labels(part, count))

    def _labels(self, part: str, count: int) -> NDArray[np.int64]:
        path = self._file(part, "labels-idx1")
        return checked_labels(path, idx.read(path, 1, count))

    def _file(self, part: str, content: str) -> Path:
        name = f"{part}-{content}-ubyte"
        path = idx.find(self._folder, name)
        if path is None:
            raise missing(self.name, self._folder / f"{name}.gz")
        return path


def checked_labels(path: Path, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Labels as int64.

    Raises:
        DatasetError: one is no class from 0 to 9.
    """
    if labels.max(initial=0) > 9:
        raise DatasetError(f"{path} has the label {labels.max()}; labels must be from 0 to 9")
    return labels.astype(np.int64)
