"""Jobs on the SLURM of the tests."""

from __future__ import annotations

from pathlib import Path

from loopback import Loopback
from support.waiting import wait_for


def submit(cluster: Loopback, script: str, *options: str, user: str | None = None) -> str:
    """Submit a shell script and return the job's number; its output is kept on demand only."""
    usual = ("--parsable", "--chdir=/", "--output=/dev/null")
    return cluster.command("sbatch", *usual, *options, f"--wrap={script}", user=user).strip()


def job_state(cluster: Loopback, job: str) -> str:
    """What the controller says of a job: PENDING, RUNNING, ..."""
    return cluster.command(
        "squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"
    ).strip()


def lines(path: str, number: int, seconds: float = 60) -> list[str]:
    """The lines of a file as soon as there are so many."""

    found: list[str] = []

    def look() -> bool:
        found[:] = Path(path).read_text().splitlines() if Path(path).exists() else []
        return len(found) >= number

    try:
        wait_for(look, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {number} lines; there are {found}") from None
    return found
