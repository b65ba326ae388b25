"""The folder of a run's SLURM jobs, in which nobody else can plant or read anything."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from orchestrator.sweep import SweepError

_UNFIT = re.compile(r"[%\\\x00-\x1f\x7f]")


def refuse_odd_path(run: Path) -> None:
    """Make sure that SLURM can write logs below a path.

    Raises:
        SweepError: it has a character that SLURM or a script takes for something else.
    """
    path = str(run.resolve())
    found = _UNFIT.search(path)
    if found or not path.isprintable():
        what = repr(found[0]) if found else "a character that cannot be printed"
        raise SweepError(
            f"run directory {path!r} has {what} in its path; for SLURM jobs it must be free of "
            "'%', '\\' and control characters, which SLURM replaces in names of log files"
        )


def refuse_shared(run: Path) -> None:
    """Make sure that a run directory and its folder of jobs are ours, where they exist.

    Jobs load pickles from there: whoever may write there may run code as us.

    Raises:
        SweepError: one belongs to someone else, may be written to by others, or is no folder.
    """
    for folder in (run.resolve(), run.resolve() / "slurm"):
        try:
            facts = folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(facts.st_mode):
            raise SweepError(f"{folder} is not a folder; it must be one of yours")
        if facts.st_uid != os.getuid():
            raise SweepError(
                f"{folder} belongs to user {facts.st_uid}; it must belong to you, user "
                f"{os.getuid()}, for jobs run what they find in it"
            )
        if facts.st_mode & 0o022:
            raise SweepError(
                f"{folder} has mode {stat.S_IMODE(facts.st_mode):o}; others must not be able to "
                f"write to it, for jobs run what they find in it (chmod go-w)"
            )


def private_folder(run: Path) -> Path:
    """``RUN/slurm``, made for its owner alone; see :func:`refuse_shared`."""
    refuse_shared(run)
    folder = run.resolve() / "slurm"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder
