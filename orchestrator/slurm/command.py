"""The one edge to SLURM's programs: what they print, or why there is nothing.

They are asked in one language and in UTC, and what the user has set for their looks is left out, so
that the same text comes back everywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

TIMEOUT_SECONDS = 30.0
"""A controller that answers at all does so sooner."""

QUIET_SECONDS = 2.0
"""After so long without an answer it is asked whether the controller is there: SLURM's programs
wait half a minute and more for one that is not."""

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
        out, err = _answer(process, program, arguments, timeout)
    finally:
        _end(process)
    if process.returncode != 0:
        lines = err.decode(errors="replace").split("\n")
        # The last line is what it comes to; those above say on which layer it began.
        said = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
        said = said or f"it ended with status {process.returncode}"
        raise SlurmUnavailable(said if said.startswith(program) else f"{program}: {said}")
    return out.decode(errors="replace")


def _answer(
    process: subprocess.Popen[bytes], program: str, arguments: Sequence[str], timeout: float
) -> tuple[bytes, bytes]:
    """What a program prints, unless it takes too long or nobody is there to answer it.

    Raises:
        SlurmUnavailable: so it is.
    """
    # Who asks another cluster does not ask the controller of this one.
    other = any(argument.startswith("--clusters") for argument in arguments)
    first = timeout if other else min(QUIET_SECONDS, timeout)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=first)
    if first < timeout and (down := controller_down()):
        raise SlurmUnavailable(down)
    try:
        return process.communicate(timeout=timeout - first)
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailable(f"{program} gave no answer within {timeout:g} s") from error


def controller_down() -> str | None:
    """What ``scontrol ping`` says where no controller answers; None where one may be busy."""
    try:
        said = subprocess.run(
            ["scontrol", "ping"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(os.environ),
            timeout=QUIET_SECONDS,
            check=False,
        ).stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return f"scontrol ping gave no answer within {QUIET_SECONDS:g} s"
    except OSError:
        return None
    states = re.findall(r"Slurmctld\(.*?\) at .*? is \w+", said)
    if not states or any(state.endswith(" UP") for state in states):
        return None
    return "scontrol ping says that " + ", ".join(states)


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
