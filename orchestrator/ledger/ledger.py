"""What is settled, what failed, and how often each trial was tried: read off the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from orchestrator.ledger.attempts import Row, close_marks
from orchestrator.ledger.marks import Mark, read_rearmed
from orchestrator.plan import Attempt, FailureClass, SettledTrial, Threshold, gives_up
from orchestrator.store import Identity, Store

_TRIAL_COLUMNS = (
    "trial_id",
    "attempt",
    "epsilon",
    "status",
    "time",
    "max_sharpness",
    "init_sharpness",
    "gradients",
    "hvps",
    "wall_s",
    "finished_at",
)
_ATTEMPT_COLUMNS = ("trial_id", "attempt", "outcome", "failure_class")


def settled_trial(rows: Sequence[Row]) -> SettledTrial:
    """What a plan needs to know of a trial, from its rows of ``trials``."""
    return SettledTrial(
        trial_id=rows[0]["trial_id"],
        thresholds=tuple(
            Threshold(row["epsilon"], row["status"], row["time"], row["max_sharpness"])
            for row in sorted(rows, key=lambda row: -float(row["epsilon"]))
        ),
        gradients=max(row["gradients"] for row in rows),
        hvps=max(row["hvps"] for row in rows),
        wall_s=rows[0]["wall_s"],
        init_sharpness=rows[0]["init_sharpness"],
    )


class Listener(Protocol):
    """Takes what comes into the table of attempts, so that nobody need read it twice."""

    @property
    def columns(self) -> Sequence[str]:
        """What it wants to know of each attempt besides what the ledger needs."""

    def take(self, rows: Sequence[Row], *, afresh: bool) -> None:
        """Rows that are new; with ``afresh``, all there are: what came before counts no longer."""


class Ledger:
    """The state of a run directory when it was last refreshed.

    For ``new_run``, the deaths of trials' processes before now do not count as failures. A
    ``listener`` is given the attempts as they are read.
    """

    def __init__(
        self, run: Path, *, new_run: bool = False, listener: Listener | None = None
    ) -> None:
        self.store = Store(run)
        self._listener = listener
        self.settled: dict[str, SettledTrial] = {}
        self.failed: set[str] = set()
        self._run = run
        self._settled_rows: dict[str, Row] = {}
        self._history: dict[str, list[Attempt]] = {}
        self._before: dict[str, int] = {}
        self._files: dict[str, dict[Path, Identity]] = {}
        self.refresh()
        if new_run:
            self._before = {name: self.attempts(name) for name in self._history}
            self._judge()

    def refresh(self) -> None:
        """Read what came into the tables since the last time."""
        by_trial: dict[str, list[Row]] = defaultdict(list)
        news, _ = self._news("trials", _TRIAL_COLUMNS, self.settled, self._settled_rows)
        for row in news:
            by_trial[row["trial_id"]].append(row)
        for name, rows in by_trial.items():
            known = self._settled_rows.get(name)
            if known is None or known["attempt"] <= rows[0]["attempt"]:
                self.settled[name] = settled_trial(rows)
                self._settled_rows[name] = rows[0]
        more = () if self._listener is None else self._listener.columns
        wanted = tuple(dict.fromkeys((*_ATTEMPT_COLUMNS, *more)))
        news, afresh = self._news("attempts", wanted, self._history)
        if self._listener is not None:
            self._listener.take(news, afresh=afresh)
        for row in news:
            attempt = Attempt(row["attempt"], row["outcome"], row["failure_class"])
            others = self._history.get(row["trial_id"], ())
            kept = [other for other in others if other.attempt != attempt.attempt]
            self._history[row["trial_id"]] = [*kept, attempt]
        self._judge()

    def _news(
        self, table: str, columns: Sequence[str], *known: dict[str, Any]
    ) -> tuple[list[Row], bool]:
        """The rows that are new, and whether these are all there are.

        What is known is forgotten where it counts no longer.
        """
        news = self.store.news(table, columns, self._files.get(table, {}))
        self._files[table] = news.files
        if news.afresh:
            for one in known:
                one.clear()
        rows: list[Row] = news.rows.to_pylist()
        return rows, news.afresh

    def _judge(self) -> None:
        """Say which trials failed, by their history."""
        rearmed = read_rearmed(self._run)
        self.failed = {
            name
            for name, attempts in self._history.items()
            if name not in self.settled
            and gives_up(attempts, rearmed.get(name, 0), self._before.get(name, 0))
        }

    @property
    def known(self) -> set[str]:
        """The trials that are settled or were tried."""
        return self.settled.keys() | self._history.keys()

    def attempts(self, trial_id: str) -> int:
        """The number of the last attempt that is on record; 0 for none."""
        numbers = [attempt.attempt for attempt in self._history.get(trial_id, [])]
        row = self._settled_rows.get(trial_id)
        settled = 0 if row is None else int(row["attempt"])
        return max([*numbers, settled])

    def suspect(self, trial_id: str) -> bool:
        """Whether the last attempt of a trial in this run failed, or ended with its process.

        On an unfit node any trial fails.
        """
        tried = self._history.get(trial_id, [])
        last = max(tried, key=lambda attempt: attempt.attempt, default=None)
        return (
            last is not None
            and last.failure_class not in (None, "unfit_node")
            and last.attempt > self._before.get(trial_id, 0)
        )

    def close(
        self,
        marks: Iterable[Mark],
        failure_class: FailureClass | None = None,
        error: str | None = None,
    ) -> list[str]:
        """Put the attempts of these marks, whose processes are gone, on record; and refresh.

        Returns the trials whose attempt was lost.
        """
        marks = list(marks)
        if not marks:
            return []
        recorded = {name: max(a.attempt for a in tried) for name, tried in self._history.items()}
        reason = {} if error is None else {"error": error}
        lost = close_marks(
            self._run, marks, recorded, self._settled_rows, failure_class=failure_class, **reason
        )
        self.refresh()
        return lost
