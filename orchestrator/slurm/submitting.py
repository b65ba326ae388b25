"""What submitting needs of this process: a clean environment, private files, one launch at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.slurm.folder import private_folder

LONGEST_REASON = 400

_KEPT = (
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS", "SUBMITIT_PREEMPT_SIGNAL",
)  # fmt: skip
_OF_A_JOB = ("SLURM_", "SLURMD_", "PMI", "SUBMITIT_")
_DEFAULTS = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")


def outside_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what describes a job that this process may run in itself.

    Inside an allocation, srun would start a step of it, and sbatch hand its numbers on.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(_OF_A_JOB)
    }


@contextmanager
def private_files() -> Iterator[None]:
    """Let all that is written be readable for its owner only; jobs inherit it from sbatch."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


@contextmanager
def submitting() -> Iterator[None]:
    """Submit from a clean environment, with private files.

    Variables such as SBATCH_TIMELIMIT would silently win over the lines of a script; of what the
    script leaves open, only SBATCH_ACCOUNT and its like may decide.
    """
    before = dict(os.environ)
    clean = {
        name: value
        for name, value in outside_jobs(before).items()
        if not name.startswith("SBATCH_") or name in _DEFAULTS
    }
    try:
        os.environ.clear()
        os.environ.update(clean)
        with private_files():
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def launching(run: Path) -> Iterator[bool]:
    """Keep other launches of the run away from counting its jobs to having submitted the rest.

    Yields whether this process may go on; False while another launch is at it.
    """
    path = private_folder(run) / "launch.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        except OSError:
            is_ours = True  # without locks on this file system, two at once may submit too many
        yield is_ours
    finally:
        os.close(descriptor)


def reason(errors: str, status: int) -> str:
    """What a program complained about on one line, without its own name."""
    lines = errors.splitlines()
    wrong = [line.partition("error: ")[2] for line in lines if "error: " in line]
    told = dict.fromkeys(line.strip() for line in wrong or lines)
    text = "; ".join(line for line in told if line)
    if not text:
        return f"exit status {status}"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."
