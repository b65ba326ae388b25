"""Whether a path is a run directory, or could become one; nothing is changed."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from orchestrator.sweep import Sweep, SweepError, load_kept

SWEEP = "sweep.yaml"

PROBES = "predict"
"""The folder of a run directory that is the run directory of the sweep's probes."""


def why_no_tables(run: Path) -> str | None:
    """What a path must be that is no run directory; None for one, or a copy of its tables."""
    return _why_not(run / "trials", stat.S_ISDIR)


def refuse_no_tables(run: Path) -> None:
    """Make sure that a path is a run directory as far as its tables go.

    Raises:
        SweepError: there are no tables.
    """
    _refuse(run, why_no_tables(run))


def refuse_unusable(run: Path) -> None:
    """Make sure that a path is a folder or that one can be made there, as far as its name goes.

    Raises:
        SweepError: it is a file, below a file, a link to nothing, or no name that can be.
    """
    try:
        mode = run.stat().st_mode
    except FileNotFoundError:
        reason = "it is a link to nothing" if run.is_symlink() else None
    except (OSError, ValueError) as error:
        reason = _reason(error)
    else:
        reason = None if stat.S_ISDIR(mode) else "it is a file"
    if reason is not None:
        raise SweepError(
            f"run directory is {str(run)!r}; it must be a folder or a free name ({reason})"
        )


def sweep_of(run: Path) -> Sweep:
    """The sweep that a run directory stands for.

    Raises:
        SweepError: it is no run directory, or its sweep cannot be read.
    """
    path = run / SWEEP
    _refuse(run, _why_not(path, stat.S_ISREG))
    try:
        return load_kept(path, "the file")
    except SweepError as error:
        raise SweepError(
            f"{path} is not as eos run wrote it ({error}); move it away, and run the sweep that "
            f"it was made from again with --run-dir {shlex.quote(str(run))}: all results stay"
        ) from None


def has_sweep(run: Path) -> bool:
    """Whether a path is a run directory."""
    return _why_not(run / SWEEP, stat.S_ISREG) is None


def _why_not(part: Path, is_kind: Callable[[int], bool]) -> str | None:
    expected = "it must be a run directory, which eos run makes"
    try:
        return None if is_kind(part.stat().st_mode) else expected
    except (FileNotFoundError, NotADirectoryError):
        return expected
    except (OSError, ValueError) as error:
        return f"{expected} ({_reason(error)})"


def _refuse(run: Path, wrong: str | None) -> None:
    if wrong is not None:
        raise SweepError(f"RUN is {str(run)!r}; {wrong}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "no such name can exist"
