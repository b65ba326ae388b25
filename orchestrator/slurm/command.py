"""SLURM's programs: what they print, or why there is nothing.

They are asked in one language and in UTC, and what the user has set for their output is left out,
so that the same text comes back everywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

TIMEOUT_SECONDS = 30.0
"""A controller that answers at all does so sooner."""

QUIET_SECONDS = 2.0
"""After so long without an answer it is asked whether the controller is there: SLURM's programs
wait half a minute and more for one that is not."""

SEPARATOR = "\x1f"
"""Between fields. Job names may hold any printable character, and a line break."""

OUTPUT_SETTINGS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
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
    kept = {name: value for name, value in user.items() if not name.startswith(OUTPUT_SETTINGS)}
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


JOB_TIMEOUT_SECONDS = 10.0
"""A job that ends has little time, and goes on without an answer."""


@dataclass(frozen=True)
class ControllerState:
    """A job as the controller sees it. ``state`` is SLURM's word, ``restarts`` how often it was put
    back, ``ends_at`` when its time limit ends it (seconds since the epoch, None for never).
    """

    state: str
    restarts: int
    ends_at: float | None


def job_state(job_id: str) -> ControllerState:
    """How the controller sees a job.

    Raises:
        SlurmUnavailable: it gives no answer, or none that can be read.
    """
    return parse_job(
        ask("scontrol", ["--oneliner", "show", "job", job_id], timeout=JOB_TIMEOUT_SECONDS)
    )


def controller_time() -> float:
    """What time it is for the controller, in seconds since the epoch.

    Raises:
        SlurmUnavailable: it gives no answer, or none that can be read.
    """
    text = ask("scontrol", ["show", "config"], timeout=JOB_TIMEOUT_SECONDS)
    dated = re.match(r"Configuration data as of (\S+)", text)
    now = None if dated is None else moment(dated[1])
    if now is None:
        raise SlurmUnavailable("scontrol show config does not begin with the time")
    return now


def requeue(job_id: str) -> None:
    """Put a running job back into the queue; SLURM then ends all its processes, this one too.

    Raises:
        SlurmUnavailable: the controller gives no answer, or refuses.
    """
    ask("scontrol", ["requeue", job_id], timeout=JOB_TIMEOUT_SECONDS)


def parse_job(text: str) -> ControllerState:
    """The state in what ``scontrol --oneliner show job`` prints."""
    fields = dict(re.findall(r"(?:^|\s)(JobState|Restarts|EndTime)=(\S+)", text))
    restarts = fields.get("Restarts", "0")
    return ControllerState(
        state=fields.get("JobState", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        ends_at=moment(fields.get("EndTime", "")),
    )


NEEDED = ("sbatch", "srun", "squeue", "scancel", "scontrol")
USEFUL = ("sacct",)


def missing_programs() -> tuple[str, ...]:
    """Those that launching and watching need and that are not on PATH."""
    return tuple(name for name in NEEDED if shutil.which(name) is None)


def slurm_version() -> str:
    """What sbatch says of itself, such as ``slurm-wlm 22.05.8``.

    Raises:
        SlurmUnavailable: it is missing, or finds no configuration.
    """
    return ask("sbatch", ["--version"]).strip()
