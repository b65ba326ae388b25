"""The analysis of a run as it is now: the one that was written, or one that leaves no trace."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis import analyze, is_current


@dataclass(frozen=True)
class Analysed:
    """Where a current ``analysis`` lies; ``is_of_the_run`` if that is the run directory."""

    run: Path
    is_of_the_run: bool


@contextmanager
def analysed(run: Path) -> Iterator[Analysed]:
    """The run, if its analysis is as new as its trials; else a view of it with a fresh analysis.

    Nothing is written to the run, which may be someone else's.
    """
    if is_current(run):
        yield Analysed(run, is_of_the_run=True)
        return
    with tempfile.TemporaryDirectory(prefix="eos-analysis-") as folder:
        view = Path(folder)
        (view / "trials").symlink_to((run / "trials").absolute(), target_is_directory=True)
        analyze(view)
        yield Analysed(view, is_of_the_run=False)
