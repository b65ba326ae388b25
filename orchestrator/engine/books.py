"""What an actor has found out: rows to be written together, and news to be reported."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from jobs.records import Point
from orchestrator.engine.commit import commit
from orchestrator.engine.failures import describe
from orchestrator.engine.in_hand import InHand
from orchestrator.engine.rows import Finished
from orchestrator.engine.work import Recorded, Report, Work
from orchestrator.logs import NAME
from orchestrator.plan import SettledTrials, newest

COMMIT_SECONDS = 1.0
"""Trials of a work that ended within this time are committed together, in one part file."""

log = logging.getLogger(NAME)


class Books:
    """The books of one work."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._finished: list[Finished] = []
        self._settled: list[SettledTrials] = []
        self._failed: list[str] = []
        self._warnings: list[str] = []
        self._recorded: list[Recorded] = []
        self._noted: dict[str, int] = {}
        self._last_commit = time.monotonic()

    def settle(self, hand: InHand) -> None:
        """Book a finished trial; its rows are still to be committed."""
        self._finished.append(hand.finish())

    def fail(self, hand: InHand, error: Exception) -> None:
        """Book a failed attempt."""
        log.error("failed: %s", describe(error), extra=hand.tag)
        hand.end("failed", error)
        self._failed.append(hand.trial_id)

    def warn(self, message: str) -> None:
        """Book what the user should know."""
        self._warnings.append(message)

    def commit(self) -> None:
        """Write the rows of what is finished, and forget its checkpoints and marks."""
        if self._finished:
            self._settled.append(commit(self._work.run, self._finished, self._work.provenance))
            for finished in self._finished if self._work.logged else ():
                trial_id = finished.assignment.trial.trial_id
                self._note(trial_id, finished.result.trajectory, ended=True)
            self._finished = []
        self._last_commit = time.monotonic()

    def commit_when_due(self) -> None:
        """Commit, unless that was done a moment ago or there is nothing to write."""
        if self._finished and time.monotonic() - self._last_commit > COMMIT_SECONDS:
            self.commit()

    def report(self, in_hand: Sequence[InHand], halt: str | None) -> Report:
        """The news since the last report, and how far those have come that run."""
        for hand in in_hand if self._work.logged else ():
            self._note(hand.trial_id, hand.trajectory, ended=False)
        report = Report(
            newest(self._settled),
            tuple(self._failed),
            tuple(hand.progress() for hand in in_hand),
            halt,
            tuple(self._warnings),
            tuple(self._recorded),
        )
        self._settled, self._failed, self._warnings, self._recorded = [], [], [], []
        return report

    def _note(self, trial_id: str, trajectory: Sequence[Point], *, ended: bool) -> None:
        """Book what a trial has recorded since it was last noted."""
        known = self._noted.get(trial_id, 0)
        # A trial that went back to its checkpoint records some steps again, which are known.
        new = tuple(trajectory[known:])
        if new or ended:
            self._recorded.append(Recorded(trial_id, new, ended))
        self._noted[trial_id] = max(known, len(trajectory))
