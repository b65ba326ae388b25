"""One file from the first mirror that has it: resumed where it broke off, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import io
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.datasets.source import checksum
from orchestrator.data.web import BrokenOffError, MirrorError, network, refuse_other_proxies

BLOCK = 2**18
"""Bytes between two reports of progress."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as lost."""
TRIES = 3
"""Connections to one mirror in a row that may bring less than a block."""

Watch = Callable[[int], None]
"""Is told how many bytes are there."""


class DownloadError(Exception):
    """A file that could not be had as it must be; says what was in the way."""


def download(
    addresses: Sequence[str], target: Path, size: int, sha256: str, watch: Watch = lambda done: None
) -> None:
    """Make ``target`` the file with this size and SHA-256, from the first address that gives it.

    What has come is kept in ``target`` with ``.part`` after its name, where a later call goes on.
    Proxies are taken from the environment (``https_proxy``, ``http_proxy``, ``no_proxy``).

    Raises:
        DownloadError: no address gives it, or another process is at the same file.
        OSError: the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures = []
    with _alone(part) as file:
        for address in addresses:
            try:
                _from(address, file, size, sha256, watch)
            except MirrorError as error:
                failures.append(f"{address}: {error}")
                continue
            os.fsync(file.fileno())
            _appear(part, target, sha256)
            return
        kept = _length(file)
    kept_in = f". {kept} bytes are kept: the same command goes on from there" if kept else ""
    raise DownloadError(
        f"{target.name} must come from one of its mirrors, and none gave it: "
        f"{'; '.join(failures)}{kept_in}. Behind a proxy, set https_proxy"
    )


@contextmanager
def _alone(part: Path) -> Iterator[io.FileIO]:
    """The file, to be appended to, which no other process writes at the same time.

    An empty one is not left behind.
    """
    with io.FileIO(part, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(
                f"{part} is being written by another process, which must end first"
            ) from None
        except OSError:
            pass  # without locks on this file system, the checksum tells what two at once mixed up
        try:
            yield file
        finally:
            if not _length(file):
                part.unlink(missing_ok=True)


def _appear(part: Path, target: Path, sha256: str) -> None:
    """Give the file its name, which another download of it may have done just before."""
    try:
        part.replace(target)
    except FileNotFoundError:
        if not target.is_file() or checksum(target) != sha256:
            raise DownloadError(
                f"{part} was taken away by another process; it must stay until it is whole: the "
                "same command begins again"
            ) from None


def _from(address: str, file: io.FileIO, size: int, sha256: str, watch: Watch) -> None:
    """Complete the file from one address and check it; empty it where it turns out wrong."""
    begun = _length(file) > 0
    _complete(address, file, size, watch)
    if begun and _digest(file) != sha256:
        # What was there before may be what is wrong: this mirror has a chance of its own.
        file.truncate(0)
        _complete(address, file, size, watch)
    found = _digest(file)
    if found != sha256:
        file.truncate(0)
        raise MirrorError(f"the file there has the SHA-256 {found}; it must have {sha256}")


def _complete(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Get what is missing to ``size`` bytes, by several connections if they break off."""
    if _length(file) > size:
        file.truncate(0)
    fruitless = 0
    while (before := _length(file)) < size:
        wait = 0.0
        try:
            _receive(address, file, size, watch)
            why = f"it broke off at {_length(file)} of {size} bytes"
        except BrokenOffError as error:
            why, wait = str(error), error.wait
        gained = _length(file) - before
        fruitless = 0 if gained >= BLOCK else fruitless + 1
        if _length(file) < size:
            if fruitless == TRIES:
                raise MirrorError(why)
            time.sleep(wait)


def _receive(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Append what one connection brings, from where the file ends where the server can do that."""
    refuse_other_proxies(address)
    have = _length(file)
    request = urllib.request.Request(address, headers={"User-Agent": "eos-sweep"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with network():
        # An opener of its own: the one behind urlopen keeps the proxies of its first use.
        answer = urllib.request.build_opener().open(request, timeout=TIMEOUT)
    with answer:
        if have and answer.status != http.client.PARTIAL_CONTENT:
            file.truncate(0)
            have = 0
        left = answer.headers.get("Content-Length")
        if left is not None and have + int(left) != size:
            raise MirrorError(f"the file there has {have + int(left)} bytes; it must have {size}")
        while have < size:
            with network():
                block = answer.read(min(BLOCK, size - have))
            if not block:
                return
            _write(file, block)
            have += len(block)
            watch(have)


def _write(file: io.FileIO, block: bytes) -> None:
    """Append all of a block; a disk that is nearly full takes only a part at once."""
    left = memoryview(block)
    while left:
        left = left[file.write(left) :]


def _length(file: io.FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _digest(file: io.FileIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
