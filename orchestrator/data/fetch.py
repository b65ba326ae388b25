"""A dataset's official archives, brought to the data root, checked and unpacked."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.data.check import MISSING, Finding, anything_there, check
from orchestrator.data.download import DownloadError, checksum, download
from orchestrator.data.official import OFFICIAL, Archive

Watch = Callable[[str, int, int], None]
"""Is told of a file's name, the bytes that are there, and the bytes of the whole."""


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
    """Bring a dataset's official files to a data root, but for those that are there.

    ``mirror`` is the beginning of an address that is tried before the official ones. A file of the
    user's own is never touched.

    Raises:
        DownloadError: an archive could not be had, or a file that is there is not the official one.
    """
    official = OFFICIAL[dataset]
    if official.unpacked is None:
        return Fetched(dataset, str(root / dataset), _idx_files(dataset, root, mirror, watch))
    folder = root / official.unpacked
    if anything_there(dataset, root):
        findings = list(check(dataset, root))
        for finding in findings:
            _refuse_wrong(finding)
        return Fetched(dataset, str(Path(findings[0].file).parent), 0)
    (archive,) = official.archives
    path, downloaded = root / archive.path, 0
    if not path.is_file() or checksum(path, "sha256") != archive.sha256:
        _download(archive, root, mirror, watch)
        downloaded = 1
    _unpack(path, folder)
    path.unlink()
    return Fetched(dataset, str(folder), downloaded)


def _idx_files(dataset: str, root: Path, mirror: str | None, watch: Watch) -> int:
    """Bring the packed files that are not there, packed or not; how many."""
    downloaded = 0
    findings = list(check(dataset, root))
    for archive, finding in zip(OFFICIAL[dataset].archives, findings, strict=True):
        if finding.problem != MISSING:
            _refuse_wrong(finding)
            continue
        _download(archive, root, mirror, watch)
        downloaded += 1
    return downloaded


def _download(archive: Archive, root: Path, mirror: str | None, watch: Watch) -> None:
    name = Path(archive.path).name
    first = () if mirror is None else (mirror.rstrip("/") + "/",)
    addresses = [beginning + name for beginning in (*first, *archive.mirrors)]
    target = root / archive.path
    download(
        addresses,
        target,
        archive.size,
        archive.sha256,
        lambda done: watch(name, done, archive.size),
    )


def _unpack(path: Path, folder: Path) -> None:
    """Make the folder of that name in a tar file appear, whole, at ``folder``.

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
        unpacked.replace(folder)


def _refuse_wrong(finding: Finding) -> None:
    """Make sure that a file is the official one; to replace it is the user's to do."""
    if finding.problem is None:
        return
    whose = f"{finding.file} of dataset {finding.dataset}"
    if finding.problem == MISSING:
        raise DownloadError(
            f"{whose} is missing from a folder that is there; the folder must be moved away before "
            "the dataset is fetched"
        )
    raise DownloadError(
        f"{whose} is not the official file ({finding.problem}); it must be moved away before the "
        "dataset is fetched"
    )
