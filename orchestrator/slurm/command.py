"""The one edge to SLURM's programs: what they print, or why there is nothing.

They are asked in one language and in UTC, and what the user has set for their looks is left out, so
that the same text comes back everywhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

TIMEOUT_SECONDS = 30.0
"""A controller that answers at all does so sooner; SLURM's own patience with a dead one is 10 s
for ``squeue`` and minutes for ``sacct``."""

SEPARATOR = "\x1f"
"""Between fields. Job names may hold any printable character, and a line break."""

LOOKS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
NO_TIME = ("", "N/A", "NONE", "None", "Unknown", "UNLIMITED", "INVALID")


class SlurmUnavailable(Exception):  # noqa: N818 (a state of the world, not a fault of ours)
    """A program of SLURM gave no answer: ``reason`` says why, ``missing`` that there is none."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.missing = reason, missing


def ask(program: str, arguments: Sequence[str], *, timeout: float = TIMEOUT_SECONDS) -> str:
    """What a program of SLURM prints.

    Raises:
        SlurmUnavailable: the program is missing, does not end in time, or ends with an error.
    """
    try:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(os.environ),
            start_new_session=True,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "is not installed here" if missing else f"cannot be run ({error.strerror})"
        raise SlurmUnavailable(f"{program} {reason}", missing=missing) from error
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailable(f"{program} gave no answer within {timeout:g} s") from error
    finally:
        _end(process)
    if process.returncode != 0:
        lines = err.decode(errors="replace").split("\n")
        # The last line is what it comes to; those above say on which layer it began.
        said = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
        said = said or f"it ended with status {process.returncode}"
        raise SlurmUnavailable(said if said.startswith(program) else f"{program}: {said}")
    return out.decode(errors="replace")


def environment(user: Mapping[str, str]) -> dict[str, str]:
    """The environment that SLURM's programs get: the user's, without what changes their text."""
    kept = {name: value for name, value in user.items() if not name.startswith(LOOKS)}
    return {**kept, "LC_ALL": "C", "TZ": "UTC0"}


def moment(text: str) -> float | None:
    """A time as SLURM prints it in UTC, in seconds since the epoch; None where it has none."""
    if text in NO_TIME:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def as_moment(seconds: float) -> str:
    """Seconds since the epoch as SLURM reads a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind: neither the program nor what it has started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
