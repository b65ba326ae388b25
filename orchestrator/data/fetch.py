"""A dataset's official archives, brought to the data root, checked and unpacked."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import named_root
from jobs.datasets.source import checksum
from orchestrator.data.download import DownloadError, download
from orchestrator.data.official import (
    MISSING,
    OFFICIAL,
    Archive,
    CheckedFile,
    Official,
    anything_there,
    check,
)

Watch = Callable[[str, int, int], None]
"""Called with a file's name, the bytes that have arrived, and the bytes of the whole."""


@dataclass(frozen=True)
class Fetched:
    """Where a dataset lies now, and how many files came over the network for it."""

    dataset: str
    where: str
    downloaded: int


def fetch(
    dataset: str,
    root: Path,
    mirror: str | None = None,
    watch: Watch = lambda name, done, size: None,
) -> Fetched:
    """Bring a dataset's official files to a data root, except those that are there.

    ``mirror`` is the beginning of an address that is tried before the official ones. A file of the
    user's own is never touched.

    Raises:
        DownloadError: an archive could not be downloaded, a file that is there is not the official
            one, or the data root cannot be written to.
    """

    def get(archive: Archive, target: Path) -> None:
        name = Path(archive.path).name
        first = () if mirror is None else (mirror.rstrip("/") + "/",)
        addresses = [beginning + name for beginning in (*first, *archive.mirrors)]
        size = archive.size
        download(addresses, target, size, archive.sha256, lambda done: watch(name, done, size))

    folder = OFFICIAL[dataset].unpacked
    try:
        if folder is None:
            return Fetched(dataset, str(root / dataset), _packed_files(dataset, root, get))
        return _unpacked_files(dataset, root, root / folder, get)
    except OSError as error:
        raise DownloadError(
            f"{named_root(root)}; it must be a folder that this user may write to, with room for "
            f"dataset {dataset}: {error}"
        ) from error


Get = Callable[[Archive, Path], None]
"""Downloads an archive to a path."""


def _packed_files(dataset: str, root: Path, get: Get) -> int:
    """Download the files that are not there, packed or not; returns their number."""
    downloaded = 0
    files = list(check(dataset, root))
    for archive, file in zip(OFFICIAL[dataset].archives, files, strict=True):
        if file.problem == MISSING:
            get(archive, root / archive.path)
            downloaded += 1
        else:
            _refuse_wrong(file)
    return downloaded


def _unpacked_files(dataset: str, root: Path, folder: Path, get: Get) -> Fetched:
    """Download and unpack a dataset whose only archive is a tar file, unless it is there."""
    official = OFFICIAL[dataset]
    if anything_there(dataset, root):
        files = list(check(dataset, root))
        for file in files:
            _refuse_wrong(file)
        return Fetched(dataset, str(Path(files[0].file).parent), 0)
    _refuse_in_the_way(folder, official)
    (archive,) = official.archives
    path, downloaded = root / archive.path, 0
    if os.path.lexists(path):
        found = checksum(path) if path.is_file() else "that of no file"
        if found != archive.sha256:
            raise DownloadError(
                f"{path} is not the official file (its SHA-256 is {found}; it must be "
                f"{archive.sha256}); it must be moved away before the dataset is fetched"
            )
        _unpack(path, folder)
    else:
        # Under a name of its own, so that what is deleted is never the user's.
        path = root / f"{archive.path}.fetched"
        if not path.is_file() or checksum(path) != archive.sha256:
            get(archive, path)
            downloaded = 1
        _unpack(path, folder)
        path.unlink(missing_ok=True)
    return Fetched(dataset, str(folder), downloaded)


def _refuse_in_the_way(folder: Path, official: Official) -> None:
    """Make sure that the files can be put where they belong, before they are downloaded."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise DownloadError(f"{folder} is no folder; it must be moved away, or be one")
    for name in official.checksums:
        path = folder.parent / name
        if path.parent == folder and os.path.lexists(path):
            raise DownloadError(f"{path} is no file; it must be moved away, or be the official one")


def _unpack(path: Path, folder: Path) -> None:
    """Make the folder of that name in a tar file appear, whole, at ``folder``.

    Into a folder that is there, what it has not yet is moved file by file.

    Raises:
        DownloadError: the archive has no such folder.
    """
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        with tarfile.open(path) as archive:
            # The filter refuses names and links that lead out of the folder, and devices.
            archive.extractall(temporary, filter="data")
        unpacked = Path(temporary) / folder.name
        if not unpacked.is_dir():
            raise DownloadError(f"{path} has no folder {folder.name}; it must have one")
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            for each in sorted(unpacked.iterdir()):
                if not os.path.lexists(folder / each.name):
                    each.rename(folder / each.name)


def _refuse_wrong(file: CheckedFile) -> None:
    """Make sure that a file is the official one; only the user may replace it."""
    if file.problem is None:
        return
    whose = f"{file.file} of dataset {file.dataset}"
    if file.problem == MISSING:
        raise DownloadError(
            f"{whose} is missing from a folder that is there; the folder must be moved away before "
            "the dataset is fetched"
        )
    raise DownloadError(
        f"{whose} is not the official file ({file.problem}); it must be moved away before the "
        "dataset is fetched"
    )
