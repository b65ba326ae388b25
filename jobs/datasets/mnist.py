"""``mnist`` and ``fashion-mnist``: 60,000 and 10,000 images of 28×28 pixels in four IDX files.

The two have files of the same names, sizes and headers, so that one in the folder of the other
would be other data under the same names of trials, as any file of that form would be. So files are
official by their checksums alone.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import idx
from jobs.datasets.images import Constants, ImageFiles, Images, once
from jobs.datasets.root import data_root, get, missing
from jobs.datasets.source import DatasetError, Shape, checksum

FULL = {"train": 60_000, "t10k": 10_000}
"""Samples in the official files, by the beginning of their names."""

MNIST_CONSTANTS: Mapping[str, Constants] = dict.fromkeys(
    ("scalar", "channel"), ((0.1307,), (0.3081,))
)
FASHION_CONSTANTS: Mapping[str, Constants] = dict.fromkeys(
    ("scalar", "channel"), ((0.2860,), (0.3530,))
)
"""Over all pixels of the official training images, as they are commonly rounded."""

SMALLEST_CLASS = {"mnist": 5_421, "fashion-mnist": 6_000}
"""Of the official training images: MNIST's rarest digit is 5; those of Fashion-MNIST are equal."""


@dataclass(frozen=True)
class OfficialIdx:
    """SHA-256 of a file packed by gzip, its bytes, and the SHA-256 of what is in it, if known."""

    packed_size: int
    packed: str
    unpacked: str | None = None


OFFICIAL_IDX: Mapping[str, Mapping[str, OfficialIdx]] = {
    "mnist": {
        "train-images-idx3-ubyte": OfficialIdx(
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        "train-labels-idx1-ubyte": OfficialIdx(
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "t10k-images-idx3-ubyte": OfficialIdx(
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        "t10k-labels-idx1-ubyte": OfficialIdx(
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": OfficialIdx(
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte": OfficialIdx(
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte": OfficialIdx(
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte": OfficialIdx(
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
}
"""By dataset and name of the file, without ``.gz``."""


class IdxImages(ImageFiles):
    """The first ``train`` training images and the first ``test`` test images of a folder.

    Without options these are all 60,000 and 10,000, and the files must have exactly as many.
    """

    shape = Shape((1, 28, 28), outputs=10)

    def __init__(self, name: str, train: int, test: int, digest: str | None = None) -> None:
        self.name, self.pool, self.tested, self.declared = name, train, test, digest
        self.published = MNIST_CONSTANTS if name == "mnist" else FASHION_CONSTANTS
        if train == FULL["train"] and digest is None:
            self.smallest_class = SMALLEST_CLASS[name]

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
            if not wanted <= count <= FULL[part]:
                option = "train" if part == "train" else "test"
                raise DatasetError(
                    f"{images} has {count} images; it must have {wanted} for dataset {self.name}. "
                    f"For the official files, {get(self.name)}. To compute with fewer, name how "
                    f"many, as in {self.name}({option}={min(count, FULL[part])})"
                )

    def files(self) -> list[Path]:
        """Images and labels of both parts."""
        contents = ("images-idx3", "labels-idx1")
        return [self._file(part, content) for part in FULL for content in contents]

    def why_not_official(self, path: Path) -> str | None:
        """An official file is as it is published, unpacked, or packed once more."""
        official = OFFICIAL_IDX[self.name][path.name.removesuffix(".gz")]
        packed, found = path.suffix == ".gz", checksum(path)
        expected = official.packed if packed else official.unpacked
        if found == expected:
            return None
        if official.unpacked is None:
            known = f"{official.packed} of the packed one" + ("" if packed else ", which has .gz")
            return f"its SHA-256 is {found}; known is only that it must be {known}"
        if packed:
            try:
                with gzip.open(path) as content:
                    if hashlib.file_digest(content, "sha256").hexdigest() == official.unpacked:
                        return None
            except (OSError, EOFError, zlib.error) as error:
                return f"it is damaged ({error})"
        return f"its SHA-256 is {found}; it must be {expected}"

    def read_pool(self) -> Images:
        """The first training images."""
        return self._read("train", self.pool)

    def read_test(self) -> Images:
        """The first test images."""
        return self._read("t10k", self.tested)

    def labels(self) -> NDArray[np.int64]:
        """The classes of the pool, without its images."""
        return self._labels("train", self.pool)

    def _read(self, part: str, count: int) -> Images:
        pixels = idx.read(self._file(part, "images-idx3"), 3, count)
        return Images(pixels.reshape(count, -1), self._labels(part, count))

    def _labels(self, part: str, count: int) -> NDArray[np.int64]:
        path = self._file(part, "labels-idx1")
        labels = idx.read(path, 1, count)
        if labels.max(initial=0) > 9:
            raise DatasetError(f"{path} has the label {labels.max()}; labels must be from 0 to 9")
        return labels.astype(np.int64)

    def _file(self, part: str, content: str) -> Path:
        name = f"{part}-{content}-ubyte"
        path = idx.find(self._folder, name)
        if path is None:
            raise missing(self.name, self._folder / f"{name}.gz")
        return path


def refuse_other_dataset(path: Path, dataset: str) -> None:
    """Make sure that a file is not the official one of that name of another dataset.

    Only a file that can be such a one by its size is read, once in a process; a dataset's own
    official files are not, but for unpacked ones of Fashion-MNIST.

    Raises:
        DatasetError: it is another's.
    """
    name, packed, size = path.name.removesuffix(".gz"), path.suffix == ".gz", path.stat().st_size
    for other, files in OFFICIAL_IDX.items():
        official = files[name]
        possible = size == official.packed_size if packed else official.unpacked is not None
        if other == dataset or not possible:
            continue
        found = once([path], ("checksum", "sha256"), lambda: checksum(path))
        if found == (official.packed if packed else official.unpacked):
            raise DatasetError(
                f"{path} is the official {name} of dataset {other}; it must be of dataset "
                f"{dataset}, or lie in the folder of its own"
            )
