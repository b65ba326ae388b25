"""Files of a run directory: written whole or not at all, set aside when damaged."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from jobs.whole_file import SUFFIX, write_whole
from orchestrator.store.clock import file_time
from orchestrator.store.schema import TABLES

LEASES = "claims"
"""The folder of leases and marks in a run directory. It and the files of leases (``.claim``) keep
their earlier names: a run of an earlier version that is at work must see these leases, too."""

_FOLDERS = (*TABLES, LEASES, "checkpoints", "live", "logs")

_REMEDIES = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some space and run again",
    errno.EACCES: "make its folder yours to write and run again",
    errno.EPERM: "make its folder yours to write and run again",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOENT: "its folder must exist",
}

DAMAGED = ".damaged"
"""How the name of a file ends that was set aside; no reader takes such a file."""

_FOREIGN_AGE_S = 3600.0

_WRITER = re.compile(r"\.(?P<host>[^/]+)\.(?P<pid>\d+)" + re.escape(SUFFIX))

GONE = (errno.ENOENT, errno.ESTALE)
"""What the system says of a file that was there."""


log = logging.getLogger(__name__)


class StoreError(OSError):
    """A file of a run directory could not be read or written; says which, why and what to do."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number

    def __reduce__(self) -> tuple[type[StoreError], tuple[str, int | None]]:
        return type(self), (str(self), self.errno)


def refusal(path: Path, doing: str, error: OSError) -> StoreError:
    """The StoreError that says that ``path`` could not be written, read or whatever ``doing``."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "check the file system and run again")
    return StoreError(f"{path} could not be {doing}: {reason}; {remedy}", error.errno)


@contextmanager
def file_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn the system's refusals into a StoreError that names ``path``."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise refusal(path, doing, error) from error


class Identity(NamedTuple):
    """Tells a file from any other that had or will have its name."""

    size: int
    mtime_ns: int
    inode: int


def identity(path: Path) -> Identity | None:
    """The identity of the file at ``path`` now, or None where there is none.

    A link to nothing has its own.
    """
    try:
        status = path.stat()
    except OSError as error:
        if path.is_symlink():
            status = path.lstat()
        elif error.errno in GONE:
            return None
        else:
            raise
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


def create(run: Path) -> None:
    """Make the run directory, private to its owner, with the folders that trials write to."""
    with file_errors(run, "made"):
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in _FOLDERS:
            (run / folder).mkdir(mode=0o700, exist_ok=True)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a hidden file beside ``path``, flush it to disk, and give it its name.

    A file of that name is replaced in one step. When anything fails, the hidden file is removed.

    Raises:
        StoreError: the file system refused.
    """
    with file_errors(path, "written"):
        write_whole(path, write)


def write_bytes_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by :func:`atomic_write`."""
    atomic_write(path, lambda temporary: temporary.write_bytes(data))


def set_aside(path: Path, reason: str) -> Path:
    """Rename a damaged file so that no reader takes it, log why, and return its new path.

    Nothing is deleted: ``x.parquet`` becomes ``.x.parquet.damaged``, or ``.damaged-2`` and so on.
    The dot in front is what makes pyarrow and pandas ignore it when they read the whole folder.

    Raises:
        StoreError: the file is gone or cannot be renamed.
    """
    aside = path.with_name(f".{path.name}{DAMAGED}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f".{path.name}{DAMAGED}-{number}")
    with file_errors(path, "set aside"):
        path.rename(aside)
    log.warning("%s is damaged (%s); it is set aside as %s", path, reason, aside.name)
    return aside


def remove_orphaned_temporaries(run: Path) -> list[Path]:
    """Remove the temporary files under ``run`` whose writer is dead, and return their paths.

    A writer on this host is dead when its process is; one on another host when its file has not
    changed for an hour.
    """
    removed = []
    for path in sorted(run.rglob(f".*{SUFFIX}")):
        if _is_orphan(path):
            with file_errors(path, "removed"):
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_orphan(path: Path) -> bool:
    writer = _WRITER.fullmatch(path.name)
    if writer is None:
        return False
    try:
        if writer["host"].endswith(f".{socket.gethostname()}"):
            return not _is_alive(int(writer["pid"]))
        return file_time(path.parent) - path.stat().st_mtime > _FOREIGN_AGE_S
    except OSError:  # it is gone, or nothing can be written here
        return False


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
