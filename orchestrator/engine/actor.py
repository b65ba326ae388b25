"""The trial actor: a Tune Trainable that computes trials and commits their rows itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ray import tune

from orchestrator.engine.books import Books
from orchestrator.engine.failures import full_storage
from orchestrator.engine.gang import Gang
from orchestrator.engine.in_hand import InHand
from orchestrator.engine.packed import Packed
from orchestrator.engine.solo import Solo
from orchestrator.engine.work import Assignment, Work
from orchestrator.live import SECONDS, LiveFile, LiveTrial, points_each
from orchestrator.logs import open_log
from orchestrator.sweep.custom_networks import find_networks

POLL_SECONDS = 0.2


class Course(Protocol):
    """How some trials of a work are brought to their ends: :class:`Solo` or :class:`Packed`."""

    @property
    def done(self) -> bool:
        """Whether they have all ended."""

    @property
    def in_hand(self) -> tuple[InHand, ...]:
        """Those that run."""

    def advance(self, until: Callable[[], bool]) -> None:
        """Go on for a while, at most until ``until()`` is true; raises OSError on a full disk."""

    def stop(self) -> None:
        """Save what runs, and end its attempts as preempted."""


class TrialActor(tune.Trainable):
    """Carries out a :class:`Work`; one process serves many of them."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take up the first work."""
        self._gang: Gang | None = None
        self._live = LiveFile(config["work"].run)
        self._take(config["work"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next work in the same process."""
        self._take(new_config["work"])
        return True

    def step(self) -> dict[str, Any]:
        """Compute for a while; ``done`` when the work is finished, interrupted, or cannot go on."""
        slice_end = time.monotonic() + self._work.report_seconds
        stopping, halt = False, None

        def pause() -> bool:
            return time.monotonic() >= slice_end or self._stopping()

        try:
            while self._courses and not pause():
                self._advance(pause)
            if stopping := bool(self._courses) and self._stopping():
                self._courses[0].stop()
            if stopping or not self._courses:
                self._books.commit()
        except OSError as error:
            if not full_storage(error):
                raise
            halt = str(error)
        in_hand = self._courses[0].in_hand if self._courses else ()
        done = stopping or not self._courses or bool(halt)
        if done:
            self._live.clear()
        return {"done": done, "report": self._books.report(in_hand, halt)}

    def _take(self, work: Work) -> None:
        # A run may have got networks since this process began.
        find_networks(work.run, (assignment.trial.problem for assignment in work.assignments))
        self._work = work
        self._books = Books(work)
        self._courses = deque(self._courses_of(work))
        self._last_poll = time.monotonic()
        self._stop_seen = False
        open_log(work.run)

    def _courses_of(self, work: Work) -> Iterator[Course]:
        packed: dict[str, list[Assignment]] = {}
        for assignment in work.assignments:
            if assignment.pack_size:
                packed.setdefault(assignment.column_id, []).append(assignment)
        for together in packed.values():
            yield Packed(work, together, self._books)
        for assignment in work.assignments:
            if not assignment.pack_size:
                yield Solo(work, assignment, self._books, self._find_gang)

    def _find_gang(self) -> Gang | None:
        """The other ranks, which start with the first trial that needs them."""
        resources = self._work.resources
        if resources.workers > 1 and self._gang is None:
            self._gang = Gang(self._work.run, resources, self._work.memory)
        return self._gang

    def _stopping(self) -> bool:
        """Whether the run is to end; looks at the file system now and then only."""
        now = time.monotonic()
        if not self._stop_seen and now - self._last_poll > POLL_SECONDS:
            self._last_poll = now
            self._stop_seen = self._work.stop_file.exists()
        return self._stop_seen

    def _advance(self, pause: Callable[[], bool]) -> None:
        course = self._courses[0]
        course.advance(pause)
        if course.done:
            self._courses.popleft()
        self._books.commit_when_due()
        self._live.show(self._in_hand, max(SECONDS, self._work.report_seconds))

    def _in_hand(self) -> list[LiveTrial]:
        hands = self._courses[0].in_hand if self._courses else ()
        return [hand.live(points_each(len(hands))) for hand in hands]
