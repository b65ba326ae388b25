"""The last attempts that failed, taken from the table of attempts as it grows."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from orchestrator.first_line import first_line
from orchestrator.ledger import Row

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

    def take(self, rows: Sequence[Row], *, afresh: bool) -> None:
        """Take in rows that are new; with ``afresh``, all there are."""
        if afresh:
            self._bad = {}
        for row in rows:
            began = None if row["started_at"] is None else row["started_at"].timestamp()
            if began is not None:
                self.since = began if self.since is None else min(self.since, began)
            ended = None if row["finished_at"] is None else row["finished_at"].timestamp()
            if ended is not None:
                self.until = ended if self.until is None else max(self.until, ended)
            known = self._bad.get(row["trial_id"])
            if row["outcome"] not in ("failed", "lost") or (
                known is not None and known.attempt >= row["attempt"]
            ):
                continue
            self._bad[row["trial_id"]] = Failure(
                trial_id=row["trial_id"],
                attempt=row["attempt"],
                failure_class=row["failure_class"] or row["outcome"],
                message=in_one_line(row["error"] or ""),
                hostname=row["hostname"] or "",
                at=(began or 0.0) if ended is None else ended,
                final=False,
            )

    def failures(self, settled: Container[str], failed: Container[str]) -> tuple[Failure, ...]:
        """The last failed attempt of each trial that is not settled, the newest first."""
        found = [
            Failure(**{**vars(one), "final": name in failed})
            for name, one in self._bad.items()
            if name not in settled
        ]
        return tuple(sorted(found, key=lambda one: (-one.at, one.trial_id)))


def in_one_line(error: str) -> str:
    """What an error says first; the traceback stands below."""
    return " ".join(first_line(error).split())[:MOST_CHARACTERS] or "no details"
