"""The file server's clock, read off the times that it gives to files, and how ours differs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from jobs.whole_file import temporary_name

AGAIN_SECONDS = 5.0
"""How long this machine's clock continues from a reading of the file server's."""

AHEAD_SECONDS = 5.0
"""Clocks that differ by less count as equal: people read their times."""


def seconds_since_boot() -> float:
    """A clock that nobody sets, and that continues while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FileClock:
    """The file server's clock, in seconds since the epoch.

    Args:
        path: names a temporary file, in a folder of that server, which is written now and then.
        clock: seconds of this machine, between two readings.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = seconds_since_boot) -> None:
        self._file, self._clock = temporary_name(path), clock
        self._read: tuple[float, float] | None = None

    def now(self) -> float:
        """The time there, within a few seconds."""
        if self._read is None or self._clock() - self._read[1] > AGAIN_SECONDS:
            self._read = self._ask(), self._clock()
        return self._read[0] + self._clock() - self._read[1]

    def close(self) -> None:
        """Remove the file."""
        self._read = None
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _ask(self) -> float:
        """The time that the server gives to a file now."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(descriptor)
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)


def file_time(folder: Path) -> float:
    """The time of the file server of a folder that can be written to."""
    clock = FileClock(folder / "clock")
    try:
        return clock.now()
    finally:
        clock.close()


def seconds_ahead(folder: Path) -> float:
    """By how much this machine's clock is ahead of the file server's; behind, where negative."""
    return time.time() - file_time(folder)


def difference(seconds: float, other: str) -> str:
    """How a clock that is some seconds ahead stands to that of another, as a sentence."""
    word = "ahead of" if seconds > 0 else "behind"
    return (
        f"{abs(seconds):.0f} s {word} that of {other}; set it right (NTP): the tables and "
        "logs have its times"
    )
