"""The official files of MNIST and Fashion-MNIST by their checksums.

The two have files of the same names, sizes and headers, so that one in the folder of the other
would be other data under the same names of trials, as any file of that form would be.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets.source import DatasetError


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


def why_not_official(path: Path, dataset: str) -> str | None:
    """What is wrong with a file that is not proved to be the official one of its name; None where
    it is: as it is published, unpacked, or packed once more.
    """
    official = OFFICIAL_IDX[dataset][path.name.removesuffix(".gz")]
    is_packed = path.suffix == ".gz"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found == (official.packed if is_packed else official.unpacked):
        return None
    if official.unpacked is None:
        known = f"{official.packed} of the packed one" + ("" if is_packed else ", which has .gz")
        return f"its SHA-256 is {found}; known is only that it must be {known}"
    if is_packed:
        try:
            with gzip.open(path) as unpacked:
                content = hashlib.file_digest(unpacked, "sha256").hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            return f"it is damaged ({error})"
        if content == official.unpacked:
            return None
    return (
        f"its SHA-256 is {found}; it must be {official.packed if is_packed else official.unpacked}"
    )


def refuse_other_dataset(path: Path, dataset: str) -> None:
    """Make sure that a file is not the official one of that name of another dataset.

    Only a file that can be such a one by its size is read, once in a process; a dataset's own
    official files are not, but for unpacked ones of Fashion-MNIST.

    Raises:
        DatasetError: it is another's.
    """
    state = path.stat()
    whose = _whose(path, dataset, state.st_size, state.st_mtime_ns)
    if whose is not None:
        raise DatasetError(
            f"{path} is the official {whose}; it must be of dataset {dataset}, or lie in the "
            "folder of its own"
        )


@functools.cache
def _whose(path: Path, dataset: str, size: int, changed: int) -> str | None:
    """The other dataset and file; ``changed`` is asked for so that a new file is looked at, too."""
    name, is_packed = path.name.removesuffix(".gz"), path.suffix == ".gz"
    others = {
        digest: f"{name} of dataset {other}"
        for other, files in OFFICIAL_IDX.items()
        if other != dataset
        and name in files
        and (digest := _digest(files[name], size if is_packed else None)) is not None
    }
    if not others:
        return None
    with path.open("rb") as file:
        return others.get(hashlib.file_digest(file, "sha256").hexdigest())


def _digest(file: OfficialIdx, packed_size: int | None) -> str | None:
    """What a file must have to be this one; None if it cannot be by its size, or nobody knows."""
    if packed_size is None:
        return file.unpacked
    return file.packed if packed_size == file.packed_size else None
