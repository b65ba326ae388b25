"""From exceptions to a sentence for the user and an exit status."""

from __future__ import annotations

import errno
import os
from typing import TypeGuard

from orchestrator.cluster import AllocationError, ClusterError, NoHeadError
from orchestrator.data.download import DownloadError
from orchestrator.engine import MissingPackageError
from orchestrator.reading import ExportError, UnknownTableError
from orchestrator.slurm.command import SlurmUnavailable
from orchestrator.store import QueryError, StoreError
from orchestrator.sweep import SweepError

SETTLED, ERROR, BAD_INPUT, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130


class UserError(Exception):
    """A request that cannot be met; its text names the thing, its value and what would be right."""


class RunHaltedError(Exception):
    """A run that could not go on, with what has to be done first."""


STATUS: dict[type[Exception], int] = {
    **dict.fromkeys((AllocationError, ClusterError, DownloadError, NoHeadError), ERROR),
    **dict.fromkeys((RunHaltedError, StoreError), SOME_FAILED),
    ExportError: BAD_INPUT,
    MissingPackageError: BAD_INPUT,
    QueryError: BAD_INPUT,
    SweepError: BAD_INPUT,
    UnknownTableError: BAD_INPUT,
    UserError: BAD_INPUT,
}
"""Errors whose text is the sentence, with their exit status: 2 for what the user can correct in the
request, 3 for what kept trials from settling."""

PLAIN = tuple(STATUS)


def exit_status(error: BaseException) -> int:
    """The exit status that stands for an error."""
    if _of_science(error) or _too_long(error):
        return BAD_INPUT
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), ERROR)


def _of_science(error: BaseException) -> bool:
    """Whether ``jobs`` refused a value: its errors say what would be right, and most need torch."""
    return isinstance(error, ValueError) and type(error).__module__.startswith("jobs.")


def _too_long(error: BaseException) -> TypeGuard[OSError]:
    """Whether a path that the user gave is longer than any can be."""
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def sentence(error: BaseException) -> str:
    """What to say of an exception."""
    if isinstance(error, PLAIN) or _of_science(error):
        return str(error)
    if isinstance(error, SlurmUnavailable):
        return f"SLURM gave no answer: {error.reason}"
    if _too_long(error):
        return f"{os.fspath(error.filename)!r} is too long for a path; it must be shorter"
    last = " ".join(str(error).split()) or "no details"
    return f"{type(error).__name__}: {last} (--debug shows where)"
