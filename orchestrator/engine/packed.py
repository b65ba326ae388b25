"""How an actor brings trials of one column forward together, in packs."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from jobs.dynamics.batch import BatchedDescent
from orchestrator.engine.books import Books
from orchestrator.engine.failures import full_storage
from orchestrator.engine.in_hand import InHand
from orchestrator.engine.work import Assignment, Work
from orchestrator.logs import NAME

log = logging.getLogger(NAME)


class Packed:
    """The trials of a work that go in packs: a place that one leaves is given to the next.

    When the computation of a pack raises, which of its trials is at fault is not known. Each then
    goes on in a pack of one, from its last checkpoint or its start: the one that raises again has
    failed, and the others have lost seconds. Of the time of a pack, each trial counts its share.

    Args:
        work: what the actor carries out.
        assignments: GD trials of one column, the longest first.
        books: where their ends are booked.
    """

    def __init__(self, work: Work, assignments: Sequence[Assignment], books: Books) -> None:
        self._places = assignments[0].pack_size
        self._waiting = deque(InHand(work, assignment) for assignment in assignments)
        self._suspects: deque[InHand] = deque()
        self._alone = False
        self._going: list[InHand] = []
        self._pack: BatchedDescent | None = None
        self._books = books

    @property
    def done(self) -> bool:
        """Whether every trial has ended."""
        return not (self._waiting or self._suspects or self._going)

    @property
    def in_hand(self) -> tuple[InHand, ...]:
        """The trials of the pack."""
        return tuple(self._going)

    def advance(self, until: Callable[[], bool]) -> None:
        """Bring a pack forward until one of its trials ends, or until ``until()`` is true.

        Raises:
            OSError: the run directory is full.
        """
        try:
            self._fill()
            if self._going:
                self._go(until)
        except Exception as error:
            if full_storage(error):
                raise
            self._part(error)

    def stop(self) -> None:
        """Save the trials, so that whoever takes them up next goes on from here."""
        for hand in list(self._going):
            self._write(hand, hand.save)
        stopped, self._going, self._pack = [*self._going, *self._suspects], [], None
        for hand in stopped:
            hand.end("preempted")

    def _fill(self) -> None:
        """Give free places to trials that wait; a suspect has its turn when no one is there."""
        if not self._going:
            self._alone = bool(self._suspects)
        source, places = (self._suspects, 1) if self._alone else (self._waiting, self._places)
        new = False
        while source and len(self._going) < places:
            new = self._take(source.popleft()) or new
        if new:
            self._pack = BatchedDescent([hand.run for hand in self._going])

    def _take(self, hand: InHand) -> bool:
        """Take up a trial; whether it is there."""
        try:
            hand.take_up(self._books.warn)
        except Exception as error:
            if full_storage(error):
                raise
            if not self._going:
                self._books.fail(hand, error)
                return False
            hand.put_down()
            self._suspects.append(hand)  # it may lack only the memory that the others hold
            return False
        self._going.append(hand)
        return True

    def _go(self, until: Callable[[], bool]) -> None:
        assert self._pack is not None
        pack, size, start = self._pack, len(self._going), time.monotonic()
        try:
            pack.advance(lambda: until() or len(pack.running) < size)
        finally:
            for hand in self._going:
                hand.seconds += (time.monotonic() - start) / size
        ended = [hand for hand in self._going if hand.run.finished]
        self._going = [hand for hand in self._going if not hand.run.finished]
        for hand in ended:
            self._books.settle(hand)
        written = [self._write(hand, hand.save_when_due) for hand in list(self._going)]
        if not all(written):
            self._pack = BatchedDescent([hand.run for hand in self._going]) if self._going else None

    def _write(self, hand: InHand, save: Callable[[], None]) -> bool:
        """Save a trial of the pack; whether it could be saved. If not, it has failed and leaves."""
        try:
            save()
        except Exception as error:
            if full_storage(error):
                raise
            self._going.remove(hand)
            self._books.fail(hand, error)
            return False
        return True

    def _part(self, error: Exception) -> None:
        """Let the trials of a pack that raised go on one by one, or fail the only one."""
        hands, self._going, self._pack = self._going, [], None
        if len(hands) == 1:
            self._books.fail(hands[0], error)
            return
        for hand in hands:
            hand.put_down()
            log.warning(
                "its pack of %d trials failed (%s: %s); it goes on by itself, from its last "
                "checkpoint or its start",
                len(hands),
                type(error).__name__,
                error,
                extra=hand.tag,
            )
        self._suspects.extend(hands)
