"""The official files of datasets: where they are published, and their checksums.

The SHA-256 of archives and of MNIST's unpacked files are found alike in many public projects, and
belong to the files whose MD5 the authors or torchvision publish. Fashion-MNIST's unpacked files
have no checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.datasets.cifar10 import OFFICIAL_CIFAR
from jobs.datasets.mnist import OFFICIAL_IDX


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
        OFFICIAL_CIFAR,
    ),
}
"""By dataset."""
