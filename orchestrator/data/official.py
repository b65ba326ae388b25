"""The official files of datasets: where they are published, their checksums, and their check.

The SHA-256 of archives and of MNIST's unpacked files are found alike in many public projects, and
belong to the files whose MD5 the authors or torchvision publish. Fashion-MNIST's unpacked files
have no checksum.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import DatasetError, cifar10, find, idx
from jobs.datasets.embedded import EmbeddedImages
from jobs.datasets.mnist import FULL, OFFICIAL_IDX
from jobs.datasets.source import checksum


@dataclass(frozen=True)
class Archive:
    """One file to download.

    ``path`` is relative to the data root, ``size`` in bytes, and ``mirrors`` are the beginnings of
    its addresses, to be tried in turn, which the file's name completes.
    """

    path: str
    size: int
    sha256: str
    mirrors: tuple[str, ...]


@dataclass(frozen=True)
class Official:
    """A dataset's files.

    Attributes:
        archives: to download.
        unpacked: the folder that the only archive, a tar file, is unpacked to; None for archives
            that are read as they are.
        checksums: ``algorithm:digest`` of files by their path from the data root.
    """

    archives: tuple[Archive, ...]
    unpacked: str | None
    checksums: Mapping[str, str]


def _idx(dataset: str, mirrors: tuple[str, ...]) -> Official:
    """A dataset of packed IDX files."""
    files = OFFICIAL_IDX[dataset]
    archives = tuple(
        Archive(f"{dataset}/{name}.gz", file.packed_size, file.packed, mirrors)
        for name, file in files.items()
    )
    checksums = {archive.path: f"sha256:{archive.sha256}" for archive in archives}
    for name, file in files.items():
        if file.unpacked is not None:
            checksums[f"{dataset}/{name}"] = f"sha256:{file.unpacked}"
    return Official(archives, None, checksums)


OFFICIAL: dict[str, Official] = {
    "mnist": _idx(
        "mnist",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": _idx(
        "fashion-mnist",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
    "cifar10": Official(
        (
            Archive(
                "cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
            ),
        ),
        "cifar-10-batches-bin",
        cifar10.OFFICIAL_CIFAR,
    ),
}
"""The official files by dataset."""

MISSING = "missing"
HEADER = "header and size only"
INSTALLED = "installed only"


@dataclass(frozen=True)
class CheckedFile:
    """One file: its size in bytes, by what it was checked, and what is wrong; None for nothing.

    Only a checksum tells an official file from any other one of the same form.
    """

    dataset: str
    file: str
    bytes: int | None
    checked: str | None
    problem: str | None


def check(dataset: str, root: Path) -> Iterator[CheckedFile]:
    """Check every file of a whole dataset in a data root; reads them all."""
    source = find(dataset)
    if isinstance(source, EmbeddedImages):
        there = importlib.util.find_spec(source.package) is not None
        problem = None if there else "not installed"
        yield CheckedFile(dataset, source.where, None, INSTALLED, problem)
        return
    for name in _needed(dataset, root):
        yield _checked(dataset, root, name)


def anything_there(dataset: str, root: Path) -> bool:
    """Whether a dataset comes with a package, or one of its files is there."""
    if dataset not in OFFICIAL:
        return True
    return any((root / name).is_file() for name in OFFICIAL[dataset].checksums)


def _needed(dataset: str, root: Path) -> Iterator[str]:
    """Paths from the root: of alternative forms of a file, the one that would be read."""
    if dataset == "cifar10":
        there = [folder for folder in cifar10.FORMATS if (root / folder).is_dir()]
        folder = there[0] if there else next(iter(cifar10.FORMATS))
        yield from (name for name in OFFICIAL[dataset].checksums if name.startswith(f"{folder}/"))
        return
    for archive in OFFICIAL[dataset].archives:
        packed = root / archive.path
        found = idx.find(packed.parent, packed.stem)
        yield str((found or packed).relative_to(root))


def _checked(dataset: str, root: Path, name: str) -> CheckedFile:
    path = root / name
    if not path.is_file():
        return CheckedFile(dataset, str(path), None, None, MISSING)
    size = path.stat().st_size
    if name not in OFFICIAL[dataset].checksums:
        return CheckedFile(dataset, str(path), size, HEADER, _header_problem(path))
    algorithm, expected = OFFICIAL[dataset].checksums[name].split(":")
    found = checksum(path, algorithm)
    problem = None
    if found != expected:
        problem = f"its {algorithm} is {found}; it must be {expected}, that of the official file"
    return CheckedFile(dataset, str(path), size, algorithm, problem)


def _header_problem(path: Path) -> str | None:
    """What is wrong with the sizes of an IDX file whose checksum nobody has published."""
    part, content = path.name.split("-")[:2]
    dimensions = 3 if content == "images" else 1
    try:
        sizes = idx.sizes(path, dimensions)
    except DatasetError as error:
        return str(error)
    expected = (FULL[part], 28, 28)[:dimensions]
    return None if sizes == expected else f"its sizes are {sizes}; they must be {expected}"
