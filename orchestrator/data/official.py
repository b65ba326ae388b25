"""The official files of datasets: where they are published, and their checksums.

The SHA-256 of archives and of MNIST's unpacked files are found alike in many public projects, and
belong to the files whose MD5 the authors or torchvision publish. Those of CIFAR-10's binary files
belong to the archive with the published MD5 c32a1d4ab5d03f1284b67883e8d87530. Of the files of its
python version torchvision publishes the MD5. Fashion-MNIST's unpacked files have no checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.datasets.official_idx import OFFICIAL_IDX


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


_CIFAR_BINARY = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_CIFAR_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

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
        {
            **{f"cifar-10-batches-bin/{name}": f"sha256:{x}" for name, x in _CIFAR_BINARY.items()},
            **{f"cifar-10-batches-py/{name}": f"md5:{x}" for name, x in _CIFAR_PYTHON.items()},
        },
    ),
}
"""By dataset."""
