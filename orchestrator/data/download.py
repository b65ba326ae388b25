"""One file from the first mirror that has it: resumed where it broke off, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BLOCK = 2**18
"""Bytes between two reports of progress."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as lost."""
TRIES = 3
"""Connections to one mirror in a row that may bring less than a block."""

Watch = Callable[[int], None]
"""Is told how many bytes are there."""


class DownloadError(Exception):
    """A file that no mirror gave as it must be; says what each of them did."""


def download(
    addresses: Sequence[str], target: Path, size: int, sha256: str, watch: Watch = lambda done: None
) -> None:
    """Make ``target`` the file with this size and SHA-256, from the first address that gives it.

    What has come is kept in ``target`` with ``.part`` after its name, where a later call goes on.
    Proxies are taken from the environment (``https_proxy``, ``http_proxy``, ``no_proxy``).

    Raises:
        DownloadError: no address gives it, or another process is at the same file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures = []
    with _alone(part) as file:
        for address in addresses:
            try:
                _from(address, file, size, sha256, watch)
            except _MirrorError as error:
                failures.append(f"{address}: {error}")
                continue
            os.fsync(file.fileno())
            part.replace(target)
            return
        kept = _length(file)
        if not kept:
            part.unlink()
    kept_in = f". {kept} bytes are kept: the same command goes on from there" if kept else ""
    raise DownloadError(
        f"{target.name} must come from one of its mirrors, and none gave it: "
        f"{'; '.join(failures)}{kept_in}. Behind a proxy, set https_proxy"
    )


def checksum(path: Path, algorithm: str) -> str:
    """The digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


class _MirrorError(Exception):
    """What one mirror did."""


@contextmanager
def _alone(part: Path) -> Iterator[io.FileIO]:
    """The file, to be appended to, which no other process writes at the same time."""
    with io.FileIO(part, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(
                f"{part} is being written by another process, which must end first"
            ) from None
        except OSError:
            pass  # without locks on this file system, the checksum tells what two at once mixed up
        yield file


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
        raise _MirrorError(f"the file there has the SHA-256 {found}; it must have {sha256}")


def _complete(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Get what is missing to ``size`` bytes, by several connections if they break off."""
    if _length(file) > size:
        file.truncate(0)
    fruitless = 0
    while (before := _length(file)) < size:
        try:
            _receive(address, file, size, watch)
            why = f"it broke off at {_length(file)} of {size} bytes"
        except urllib.error.HTTPError as error:
            raise _MirrorError(f"HTTP status {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            why = str(getattr(error, "reason", error)) or type(error).__name__
        gained = _length(file) - before
        fruitless = 0 if gained >= BLOCK else fruitless + 1
        if fruitless == TRIES and _length(file) < size:
            raise _MirrorError(why)


def _receive(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Append what one connection brings, from where the file ends where the server can do that."""
    have = _length(file)
    request = urllib.request.Request(address, headers={"User-Agent": "eos-sweep"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    # An opener of its own: the one behind urlopen keeps the proxies of its first use.
    with urllib.request.build_opener().open(request, timeout=TIMEOUT) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            file.truncate(0)
            have = 0
        left = answer.headers.get("Content-Length")
        if left is not None and have + int(left) != size:
            raise _MirrorError(f"the file there has {have + int(left)} bytes; it must have {size}")
        while have < size and (block := answer.read(min(BLOCK, size - have))):
            file.write(block)
            have += len(block)
            watch(have)


def _length(file: io.FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _digest(file: io.FileIO) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()
