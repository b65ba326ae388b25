"""What failed, and what the numbers leave out: attempts by cause, runs by outcome and by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.accident import ACCIDENTAL_STOP
from orchestrator.report.page.answers import Answers

QUESTIONS = {
    "outcomes": "SELECT kind, status, count(*) AS n FROM settled GROUP BY ALL",
    "causes": "SELECT outcome, failure_class, error, count(*) AS n, "
    "count(DISTINCT trial_id) AS trials, min(hostname) AS host, "
    "count(DISTINCT hostname) AS hosts FROM tried WHERE outcome IS DISTINCT FROM 'settled' "
    "GROUP BY outcome, failure_class, error",
    "lost": "SELECT count(DISTINCT trial_id) AS trials FROM tried "
    "WHERE outcome IN ('failed', 'lost') "
    "AND trial_id NOT IN (SELECT trial_id FROM made WHERE trial_id IS NOT NULL)",
}

_RULES = {
    "n_diverged": "Diverged: the loss was no number, or far above that of the start.",
    "n_short": "Stopped short of ε, at the largest number of steps.",
    "n_unmeasured": "The sharpness was not measured.",
    "n_unconverged": "The sharpness did not converge to the tolerance asked for.",
    "n_chaotic": "Came to ε by accident: sharper than the edge 2/η by so much that gradient "
    f"descent leaves every minimum there, as with S·η/2 above {ACCIDENTAL_STOP:g}.",
}
"""Why the analysis leaves a GD run out, by the column of ``phase`` that counts it."""

_MOST = 40
"""Causes that are listed, the most frequent ones."""

_LONGEST = 600
"""Characters of an error."""


@dataclass(frozen=True)
class Failures:
    """What became of trials, and of attempts.

    ``outcomes`` are rows of kind, status and count of settled trials at a threshold, ``excluded``
    pairs of a rule and the number of GD runs at a threshold. ``causes`` are rows of the causes of
    attempts that did not settle, of ``n_causes``; ``n_lost`` trials failed, or were lost with their
    process, and have no result.
    """

    outcomes: list[dict[str, Any]]
    excluded: list[tuple[str, int]]
    causes: list[dict[str, Any]]
    n_causes: int
    n_lost: int


def failures(found: Answers, phases: Iterable[Mapping[str, Any]]) -> Failures:
    """What the tables of a run say of failures, and the rows of ``phase`` of exclusions."""
    counts = Counter[str]()
    for row in phases:
        counts.update({name: row[name] or 0 for name in _RULES})
    return Failures(
        outcomes=found["outcomes"],
        excluded=[(rule, counts[name]) for name, rule in _RULES.items()],
        causes=[_short(cause) for cause in found["causes"][:_MOST]],
        n_causes=len(found["causes"]),
        n_lost=found["lost"][0]["trials"],
    )


def _short(cause: dict[str, Any]) -> dict[str, Any]:
    error = cause["error"] or ""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in error)
    return {**cause, "error": text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"}
