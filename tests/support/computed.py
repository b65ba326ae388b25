"""What trials find, each computed once in a process: many tests need a run with the same ones."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

from jobs import Trial, TrialResult, run_trial


@dataclass(frozen=True)
class Computed:
    """A trial's result, and when it began and ended."""

    result: TrialResult
    began: float
    ended: float


@functools.cache
def computed(trial: Trial) -> Computed:
    """The result of a trial on one thread."""
    began = time.time()
    return Computed(run_trial(trial, threads=1), began, time.time())
