"""How far running trials are: one small file per process that computes, for those who watch.

Nothing depends on these files. Each is replaced now and then while its process computes trials, and
removed when it has none; what a killed process leaves, the next run removes. A reader uses what is
said of a trial only together with the mark of the attempt that the same process made.
"""

from __future__ import annotations

import json
import math
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator import left_out
from orchestrator.ledger.leases import STALE_SECONDS
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.store.clock import file_time

FOLDER, SUFFIX = "live", ".json"

SECONDS = 2.0
"""Between two files of one process, at least."""

MOST_POINTS, MOST_POINTS_A_FILE = 40, 640
"""Recorded points of one trial, and of all trials of a process together."""

MOST_BYTES = 1_000_000
"""Of a file that is read; what we write is far smaller."""


@dataclass(frozen=True)
class LiveTrial:
    """How far a trial has come, and S at its last recorded points, the oldest first.

    ``loss`` is None before it was first evaluated, and so is an S that was not measured.
    """

    trial_id: str
    attempt: int
    step: int
    loss: float | None
    sharpness: tuple[float | None, ...]


@dataclass(frozen=True)
class LiveProcess:
    """The trials that one process computes; ``age`` is how old the file is, in seconds."""

    owner: ProcessIdentity
    age: float
    trials: tuple[LiveTrial, ...]

    @property
    def left_behind(self) -> bool:
        """Whether its process is gone, or must be presumed to be."""
        dead = self.owner.is_dead()
        return bool(dead) or (dead is None and self.age > STALE_SECONDS)


class LiveFile:
    """The file of this process in a run directory."""

    def __init__(self, run: Path) -> None:
        self._path = run / FOLDER / f"{socket.gethostname()}-{os.getpid()}{SUFFIX}"
        self._owner = ProcessIdentity.own().as_dict()
        self._written_at = -math.inf
        self._there = False

    def show(self, trials: Callable[[], Sequence[LiveTrial]], every: float = SECONDS) -> None:
        """Replace the file unless it is fresh; errors are ignored."""
        now = time.monotonic()
        if now - self._written_at < every:
            return
        self._written_at = now
        # A display must not fail a trial, neither by a full disk nor by an error of its own.
        with suppress(Exception):
            content = {"owner": self._owner, "trials": [vars(trial) for trial in trials()]}
            self._replace(json.dumps(content, allow_nan=False))

    def clear(self) -> None:
        """Remove the file, if it was written."""
        if self._there:
            self._there = False
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _replace(self, text: str) -> None:
        """Whole, but not flushed to disk: it matters only as long as the machine stays up."""
        temporary = temporary_name(self._path)
        try:
            temporary.write_text(text)
            temporary.replace(self._path)
            self._there = True
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def points_each(trials: int) -> int:
    """How many recorded points of each trial a file has, by the number of trials in it."""
    return min(MOST_POINTS, MOST_POINTS_A_FILE // max(trials, 1))


def rounded(value: float | None) -> float | None:
    """A number for people, to 6 digits; None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def read_live(run: Path) -> Iterator[LiveProcess]:
    """The files of all processes, also of those that are gone; damaged files are left out."""
    for path in sorted((run / FOLDER).glob(f"*{SUFFIX}")):
        try:
            yield _read(path, time.time())
        except FileNotFoundError:
            continue
        except _TornError as torn:
            left_out.say(path, str(torn))


def remove_left_behind(run: Path) -> None:
    """Remove the files of processes that are gone, where that is possible."""
    paths = list((run / FOLDER).glob(f"*{SUFFIX}"))
    try:
        now = file_time(run / FOLDER) if paths else 0.0
    except OSError:
        return
    for path in paths:
        try:
            left_behind = _read(path, now).left_behind
        except FileNotFoundError:
            continue
        except _TornError:  # whoever lives replaces its file, and never in part
            left_behind = path.is_file()
        if left_behind:
            with suppress(OSError):
                path.unlink(missing_ok=True)


class _TornError(Exception):
    """A file is not as processes write it; says why."""


def _read(path: Path, now: float) -> LiveProcess:
    """What a file says.

    Raises:
        FileNotFoundError: it is gone.
        _TornError: it cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise _TornError("it is no file that a process of a run wrote")
        content = json.loads(path.read_text())
        trials = tuple(_trial(**entry) for entry in content["trials"])
        owner = _owner(**content["owner"])
    except FileNotFoundError:
        if path.is_symlink():
            raise _TornError("it is a link to nothing") from None
        raise
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise _TornError("it is cut or damaged") from error
    return LiveProcess(owner, max(now - status.st_mtime, 0.0), trials)


def _trial(
    trial_id: str, attempt: int, step: int, loss: float | None, sharpness: list[float | None]
) -> LiveTrial:
    """A trial of a file; raises ValueError or TypeError where it is none."""
    last = tuple(map(rounded, sharpness[-MOST_POINTS:]))
    return LiveTrial(str(trial_id), int(attempt), int(step), rounded(loss), last)


def _owner(hostname: str, boot: str, namespace: str, pid: int, started: int) -> ProcessIdentity:
    """The process of a file; raises ValueError or TypeError where it is none."""
    return ProcessIdentity(str(hostname), str(boot), str(namespace), int(pid), int(started))
