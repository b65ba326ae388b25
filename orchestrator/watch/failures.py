"""The last attempts that failed, taken from the table of attempts as it grows."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.first_line import first_line

_COLUMNS = (
    "trial_id", "attempt", "outcome", "failure_class", "error", "hostname", "started_at",
    "finished_at",
)  # fmt: skip

MOST_CHARACTERS = 400
"""Of a message: more than a terminal shows of it."""


@dataclass(frozen=True)
class Failure:
    """An attempt that failed or was lost; ``message`` is the first line of its error.

    ``at`` is in seconds since the epoch. ``final`` says that the trial is not tried again.
    """

    trial_id: str
    attempt: int
    failure_class: str
    message: str
    hostname: str
    at: float
    final: bool


class Attempts:
    """What the table of attempts says: failures, when the first began, when the last ended."""

    columns = _COLUMNS

    def __init__(self) -> None:
        self._bad: dict[str, Failure] = {}
        self.since: float | None = None
        self.until: float | None = None

    def take(self, rows: pa.Table, *, afresh: bool) -> None:
        """Take in rows that are new; with ``afresh``, all there are."""
        if afresh:
            self._bad = {}
        began = _seconds(pc.min(rows.column("started_at")))
        ended = _seconds(pc.max(rows.column("finished_at")))
        self.since = min((t for t in (self.since, began) if t is not None), default=None)
        self.until = max((t for t in (self.until, ended) if t is not None), default=None)
        bad = pc.is_in(rows.column("outcome"), value_set=pa.array(["failed", "lost"]))
        for row in rows.filter(bad).to_pylist():
            known = self._bad.get(row["trial_id"])
            if known is not None and known.attempt >= row["attempt"]:
                continue
            self._bad[row["trial_id"]] = Failure(
                trial_id=row["trial_id"],
                attempt=row["attempt"],
                failure_class=row["failure_class"] or row["outcome"],
                message=in_one_line(row["error"] or ""),
                hostname=row["hostname"] or "",
                at=next((t.timestamp() for t in (row["finished_at"], row["started_at"]) if t), 0.0),
                final=False,
            )

    def failures(
        self, has_settled: Callable[[str], bool], failed: Container[str]
    ) -> tuple[Failure, ...]:
        """The last failed attempt of each trial that has not settled, the newest first."""
        found = [
            replace(one, final=name in failed)
            for name, one in self._bad.items()
            if not has_settled(name)
        ]
        return tuple(sorted(found, key=lambda one: (-one.at, one.trial_id)))


def _seconds(moment: Any) -> float | None:
    found = moment.as_py()
    return None if found is None else float(found.timestamp())


def in_one_line(error: str) -> str:
    """What an error says first; the traceback stands below."""
    return " ".join(first_line(error).split())[:MOST_CHARACTERS] or "no details"
