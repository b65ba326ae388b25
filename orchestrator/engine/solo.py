"""How an actor brings a trial forward by itself, perhaps as the leader of other ranks."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.engine.books import Books
from orchestrator.engine.failures import full_storage, node_blamed
from orchestrator.engine.gang import Gang
from orchestrator.engine.in_hand import InHand
from orchestrator.engine.places import UnfitNodeError
from orchestrator.engine.work import Assignment, Work


class Solo:
    """One trial of a work. ``find_gang`` says who computes it together with this process."""

    def __init__(
        self,
        work: Work,
        assignment: Assignment,
        books: Books,
        find_gang: Callable[[], Gang | None],
    ) -> None:
        self.done = False
        self._hand = InHand(work, assignment)
        self._books = books
        self._find_gang = find_gang
        self._gang: Gang | None = None
        self._begun = False

    @property
    def in_hand(self) -> tuple[InHand, ...]:
        """The trial, while it runs."""
        return (self._hand,) if self._begun and not self.done else ()

    def advance(self, until: Callable[[], bool]) -> None:
        """Bring the trial forward to its end, or until ``until()`` is true.

        Raises:
            OSError: the run directory is full.
            Exception: the trial failed, and this process with it.
        """
        try:
            with node_blamed(self._hand.device):
                self._advance(until)
        except Exception as error:
            if full_storage(error):
                raise
            cause = self._fail(error)
            if self._hand.device != "cpu" or self._gang is not None:
                # A CUDA error can poison the process, and ranks that lost one cannot go on: let it
                # end, and the other ranks with it.
                self._books.commit()
                if cause is error:
                    raise
                raise cause from error

    def stop(self) -> None:
        """Save the trial, so that whoever takes it up next goes on from here."""
        if not self._begun or self.done:
            return
        if self._gang is not None:
            self._hand.run.ranks.wants_stop = True
            if self._hand.run.advance():
                self._finish()
                return
            self._gang.end()
        self._hand.save()
        self._hand.end("preempted")
        self._begun = False

    def _advance(self, until: Callable[[], bool]) -> None:
        if not self._begun:
            self._begin()
        start = time.monotonic()
        finished = self._hand.run.advance(until)
        self._hand.seconds += time.monotonic() - start
        if finished:
            self._finish()
        else:
            self._hand.save_when_due()

    def _begin(self) -> None:
        self._hand.mark()  # what is lost with its process while the ranks start is this trial
        self._gang = self._find_gang()
        self._hand.take_up(self._books.warn, self._gang.ranks if self._gang else None)
        if self._gang is not None:
            checkpoint = self._hand.path.read_bytes() if self._hand.restored else None
            self._gang.begin(self._hand.assignment.trial, checkpoint)
        self._begun = True

    def _finish(self) -> None:
        if self._gang is not None:
            self._gang.end()
        self.done = True
        self._books.settle(self._hand)

    def _fail(self, error: Exception) -> Exception:
        """Book that the trial failed; returns why."""
        if self._gang is not None and not isinstance(error, UnfitNodeError):
            error = self._gang.cause(error)
        self.done = True
        self._books.fail(self._hand, error)
        return error
