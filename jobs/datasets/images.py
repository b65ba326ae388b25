"""Images with class labels, from wherever: what their sources share."""

from __future__ import annotations

import functools
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets import subset as subsets
from jobs.datasets.digest import digest_of_arrays
from jobs.datasets.normalization import Constants, scale
from jobs.datasets.root import get
from jobs.datasets.source import Dataset, DatasetError, Samples, Shape
from jobs.spec.dataset_name import DatasetName


@dataclass(frozen=True)
class Images:
    """Pixels, uint8 of shape (samples, features) by channel, row and column, and int64 classes."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


class ImageSource(ABC):
    """Training and test images; the pixels of the pool are held only while a subset is taken."""

    shape: Shape
    pool: int
    tested: int
    white: int = 255
    """The greatest value of a pixel."""
    published: Mapping[str, Constants] = {}
    """Constants by normalization."""
    smallest_class: int = 0
    """How many samples every class of the pool is known to have."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it comes from."""

    @abstractmethod
    def check_there(self) -> None:
        """Make sure that it can be read."""

    @abstractmethod
    def read_pool(self) -> Images:
        """The images that training subsets are taken from."""

    @abstractmethod
    def read_test(self) -> Images:
        """The test images."""

    def labels(self) -> NDArray[np.int64]:
        """The classes of the pool."""
        return self.read_pool().labels

    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Make sure that the pool has such a subset; every normalization is possible."""
        if subset == "balanced":
            outputs = self.shape.outputs
            subsets.check_balanced(n_train, outputs, self.labels, self.smallest_class)

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """A subset of the pool and all test images, standardised."""
        pool = self.read_pool()
        chosen = subsets.rows(subset, n_train, pool.labels, self.shape.outputs)
        scaled = scale(
            normalization, pool.pixels, self.shape.input[0], self.white, self.published
        ).standardised
        train = Samples(scaled(pool.pixels[chosen]), pool.labels[chosen])
        del pool  # before the test images are widened
        images = self.read_test()
        test = Samples(scaled(images.pixels), images.labels)
        digest = digest_of_arrays(train.inputs, train.labels, test.inputs, test.labels)
        return Dataset(train, test, digest)


def content_digest(pool: Images, test: Images) -> str:
    """The digest of all that a dataset has, in whichever files it lies."""
    return digest_of_arrays(pool.pixels, pool.labels, test.pixels, test.labels)


class ImageFiles(ImageSource):
    """Images that are read from files: the official ones, or those whose digest the name has."""

    name: str
    declared: str | None

    @abstractmethod
    def files(self) -> list[Path]:
        """Those that are read."""

    @abstractmethod
    def why_not_official(self, path: Path) -> str | None:
        """What is wrong with a file that is not proved to be the official one; None where it is."""

    def check_content(self) -> None:
        """Make sure that the files are official, or have the content that the name has a digest of.

        Files are read once in a process, as long as they do not change.
        """
        if self.declared is None:
            self._check_official()
            return
        found = self.content()
        if found != self.declared:
            raise DatasetError(
                f"dataset {self.called(self.declared)} is not what lies in {self.where}, whose "
                f"digest is {found}; it must be {self.declared}"
            )

    def content(self) -> str:
        """The digest of the images that count."""
        return str(_once(self.files(), ("content", self.called(None)), self._content))

    def called(self, digest: str | None) -> str:
        """The dataset's name with a digest."""
        options = {"train": self.pool, "test": self.tested, "digest": digest}
        return str(DatasetName(self.name, options))

    def _content(self) -> str:
        return content_digest(self.read_pool(), self.read_test())

    def _check_official(self) -> None:
        for path in self.files():
            ask = functools.partial(self.why_not_official, path)
            wrong = _once([path], ("official", self.name), ask)
            if wrong is not None:
                raise DatasetError(
                    f"{path} is not known to be the official file of dataset {self.name}: {wrong}. "
                    f"For the official files, {get(self.name)}. To compute with what lies there, "
                    f"name it by its digest, as {self.called(self.content())}"
                )


def _once(files: list[Path], what: tuple[str, str], ask: Callable[[], Any]) -> Any:
    """An answer about files, asked for again only when one of them is another."""
    states = ((str(path), path.stat()) for path in files)
    key = (*what, *((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in states))
    if key not in _answers:
        _answers[key] = ask()
    return _answers[key]


_answers: dict[tuple[Any, ...], Any] = {}


class EmbeddedImages(ImageSource):
    """Images that a package carries, the test set being what follows the pool.

    ``known`` is the digest of all of them; others are refused where they are read, which takes
    longer than all other checks.
    """

    name: str
    package: str
    known: str

    @property
    def where(self) -> str:
        """The package."""
        return f"package {self.package}"

    @abstractmethod
    def read(self) -> Images:
        """All images, the pool first."""

    def check_there(self) -> None:
        """Make sure that the package is installed."""
        if importlib.util.find_spec(self.package) is None:
            raise DatasetError(
                f"dataset {self.name} comes with the package {self.package}, which is not "
                "installed; install eos-sweep with its dependencies"
            )

    def read_pool(self) -> Images:
        """The first images."""
        return self._part(slice(0, self.pool))

    def read_test(self) -> Images:
        """Those that follow the pool."""
        return self._part(slice(self.pool, self.pool + self.tested))

    def check_content(self) -> None:
        """It is checked when it is read."""

    def rows_of(self, file: str) -> NDArray[np.float64]:
        """The numbers of a CSV file of the package.

        The package is not imported: that, or its own reader, takes every process seconds.
        """
        spec = importlib.util.find_spec(self.package)
        folders = (spec and spec.submodule_search_locations) or []
        path = next((path for path in (Path(one, file) for one in folders) if path.exists()), None)
        if path is None:
            raise DatasetError(
                f"dataset {self.name} is read from {file} of the package {self.package}, which "
                "has no such file here; install another version of the package"
            )
        return np.loadtxt(path, delimiter=",")

    def _part(self, rows: slice) -> Images:
        images = self.read()
        _refuse_other(self, images)
        return Images(images.pixels[rows], images.labels[rows])


def _refuse_other(source: EmbeddedImages, images: Images) -> None:
    """Make sure that a package carries the images that it is known for."""
    pool, test = (
        Images(images.pixels[rows], images.labels[rows])
        for rows in (slice(0, source.pool), slice(source.pool, None))
    )
    found = content_digest(pool, test)
    if found != source.known:
        raise DatasetError(
            f"dataset {source.name} is not what the package {source.package} carries here, whose "
            f"digest is {found}; it must be {source.known}: install another version of the package"
        )
