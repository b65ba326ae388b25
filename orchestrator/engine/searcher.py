"""Ray Tune's view of the feed: a Searcher that hands out works and books their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from orchestrator.engine.feed import Feed
from orchestrator.engine.places import UnfitNodeError
from orchestrator.engine.work import Work

DIED = RuntimeError("its worker process died")


class FeedSearcher(Searcher):
    """Suggests works of a feed until it has none left and none is running.

    ``errors`` has what Tune knows of trials whose process died, by Tune's own trial id; ``ended``
    says that no new work is to be handed out; ``changed`` is called after every event. A feed whose
    gate is closed ends the experiment.
    """

    def __init__(self, feed: Feed, ended: Callable[[], bool], changed: Callable[[], None]) -> None:
        super().__init__()
        self._feed, self._ended, self._changed = feed, ended, changed
        self._works: dict[str, Work] = {}
        self.errors: dict[str, BaseException] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next work; None while others must end first; FINISHED when all is handed out."""
        with self._feed.gate:
            work = None if self._ended() else self._feed.next_work()
            if work is None:
                return None if self._works else Searcher.FINISHED
            self._works[trial_id] = work
            self._changed()
            return {"work": work}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Book a report from an actor that goes on."""
        with self._feed.gate:
            self._feed.take_report(self._works[trial_id], result["report"])
            self._changed()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Book the last report of an actor, or that its process died."""
        with self._feed.gate:
            work = self._works.pop(trial_id)
            if not error and result is not None:
                self._feed.take_report(work, result["report"])
            reason = self.errors.pop(trial_id, DIED) if error else None
            cause = getattr(reason, "cause", reason)  # Ray wraps what an actor raised
            if isinstance(cause, UnfitNodeError):
                self._feed.avoid(cause)
            self._feed.take_end(work, None if reason is None else str(reason))
            self._changed()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps a pickle of its settings, of which this is one, and never reads it.

        What a feed holds on to, such as a live display, cannot be pickled.
        """
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> FeedSearcher:
        return self

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the tables are the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
