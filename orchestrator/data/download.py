"""One file from the first mirror that has it: resumed where it broke off, whole or not at all.

Proxies are taken from the environment (``https_proxy``, ``http_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import io
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

from jobs.datasets.source import checksum

BLOCK = 2**18
"""Bytes between two reports of progress."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as lost."""
TRIES = 3
"""Connections to one mirror in a row that may bring less than a block."""
BUSY = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
DEFAULT_WAIT = 1.0
"""Seconds before a busy server that names no time is asked again."""
LONGEST_WAIT = 60.0
"""Seconds that a busy server is waited for at most, whatever it asks for."""

Watch = Callable[[int], None]
"""Called with the number of bytes that have arrived."""


class DownloadError(Exception):
    """A file that could not be downloaded; says why."""


class _MirrorError(Exception):
    """Why a mirror does not give the file; it is not asked again."""


class _BrokenOffError(Exception):
    """Why a connection brought no more; another one may, after ``wait`` seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


def download(
    addresses: Sequence[str], target: Path, size: int, sha256: str, watch: Watch = lambda done: None
) -> None:
    """Make ``target`` the file with this size and SHA-256, from the first address that gives it.

    What has come is kept in ``target`` with ``.part`` after its name, where a later call goes on.

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
                _whole_from(address, file, size, sha256, watch)
            except _MirrorError as error:
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


def _whole_from(address: str, file: io.FileIO, size: int, sha256: str, watch: Watch) -> None:
    """Complete the file from one address and check it; empty it where it turns out wrong."""
    # What was there before may be what is wrong: then the mirror is asked for the whole.
    for resumed in (True, False) if _length(file) else (False,):
        _complete(address, file, size, watch)
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == sha256:
            return
        file.truncate(0)
        if not resumed:
            raise _MirrorError(f"the file there has the SHA-256 {found}; it must have {sha256}")


def _complete(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Get what is missing to ``size`` bytes, by several connections if they break off."""
    if _length(file) > size:
        file.truncate(0)
    fruitless = 0
    while (before := _length(file)) < size:
        try:
            _receive(address, file, size, watch)
        except _BrokenOffError as error:
            fruitless = 0 if _length(file) - before >= BLOCK else fruitless + 1
            if fruitless == TRIES:
                raise _MirrorError(str(error)) from None
            time.sleep(error.wait)


def _receive(address: str, file: io.FileIO, size: int, watch: Watch) -> None:
    """Append what is missing, from where the file ends if the server can do that."""
    _refuse_other_proxies(address)
    have = _length(file)
    request = urllib.request.Request(address, headers={"User-Agent": "eos-sweep"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with _network():
        # An opener of its own: the one behind urlopen keeps the proxies of its first use.
        answer = urllib.request.build_opener().open(request, timeout=TIMEOUT)
    with answer:
        if have and answer.status != http.client.PARTIAL_CONTENT:
            file.truncate(0)
            have = 0
        left = answer.headers.get("Content-Length")
        if left is not None and have + int(left) != size:
            raise _MirrorError(f"the file there has {have + int(left)} bytes; it must have {size}")
        while have < size:
            with _network():
                block = answer.read(min(BLOCK, size - have))
            if not block:
                raise _BrokenOffError(f"it broke off at {have} of {size} bytes")
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


@contextmanager
def _network() -> Iterator[None]:
    """Turn network errors into those below; nothing else may be done within.

    Raises:
        _BrokenOffError: the connection is lost, or the server is busy.
        _MirrorError: the server refuses.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        why = f"HTTP status {error.code} {error.reason}"
        if error.code in BUSY:
            wait = seconds(error.headers.get("Retry-After"), time.time())
            raise _BrokenOffError(why, wait) from None
        raise _MirrorError(why) from None
    except (OSError, http.client.HTTPException) as error:
        why = str(getattr(error, "reason", error)) or type(error).__name__
        raise _BrokenOffError(why) from None


def seconds(retry_after: str | None, now: float) -> float:
    """How long to wait by a Retry-After header, in seconds or a date; at most LONGEST_WAIT."""
    if retry_after is None:
        return DEFAULT_WAIT
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return min(float(retry_after), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return DEFAULT_WAIT
    return min(max(until - now, 0.0), LONGEST_WAIT)


def _refuse_other_proxies(address: str) -> None:
    """Make sure that an address is reached directly or by a proxy that speaks HTTP.

    Raises:
        _MirrorError: the environment names a proxy of another kind for it.
    """
    asked = urllib.parse.urlsplit(address)
    proxy = urllib.request.getproxies().get(asked.scheme, "")
    kind, named, _ = proxy.partition("://")
    if not named or kind.lower() in ("http", "https"):
        return
    if asked.hostname and urllib.request.proxy_bypass(asked.hostname):
        return
    raise _MirrorError(
        f"{asked.scheme}_proxy begins with {kind}://; it must begin with http:// or https://, the "
        "only proxies that are supported"
    )
