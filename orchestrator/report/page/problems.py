"""What was run: the values of every field, the learning rates and the thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.groups import Column, values
from orchestrator.report.page.answers import Answers
from orchestrator.report.words import PROBLEM, field_name, shown

FIELDS = (*PROBLEM, "base_width", "normalization", "subset", "dtype")
"""The fields of a problem, in the order in which they are listed."""

QUESTIONS = {
    "sweeps": "SELECT DISTINCT sweep FROM settled WHERE sweep IS NOT NULL",
    "epsilons": "SELECT DISTINCT epsilon FROM settled WHERE epsilon IS NOT NULL",
    "rates": "SELECT count(DISTINCT trial_id) AS trials, "
    "count(DISTINCT trial_id) FILTER (kind = 'flow') AS flows, "
    "count(DISTINCT trial_id) FILTER (kind = 'gd') AS descents, "
    "min(eta) FILTER (isfinite(eta)) AS low, max(eta) FILTER (isfinite(eta)) AS high, "
    "min(eta_over_eta_c) FILTER (isfinite(eta_over_eta_c)) AS from_c, "
    "max(eta_over_eta_c) FILTER (isfinite(eta_over_eta_c)) AS to_c FROM settled",
}

_MOST = 12
"""Values of a field that are written out."""


@dataclass(frozen=True)
class Problems:
    """All in words: ``fixed`` fields have one value, ``axes`` several, each as (name, values).

    ``rates`` is None where no GD has settled.
    """

    sweeps: str
    n_trials: int
    n_flows: int
    fixed: list[tuple[str, str]]
    axes: list[tuple[str, str]]
    epsilons: str
    rates: str | None


def problems(columns: Sequence[Column], found: Answers) -> Problems:
    """What the trials of a run say that they are about."""
    fields = {field: values(columns, field) for field in FIELDS}
    (rates,) = found["rates"]
    epsilons = sorted((row["epsilon"] for row in found["epsilons"]), reverse=True)
    return Problems(
        sweeps=_listed(row["sweep"] for row in found["sweeps"]),
        n_trials=rates["trials"],
        n_flows=rates["flows"],
        fixed=[
            (field_name(field), shown(its[0]))
            for field, its in fields.items()
            if len(its) == 1 and its[0] is not None
        ],
        axes=[(field_name(f), _listed(its)) for f, its in fields.items() if len(its) > 1],
        epsilons=_listed(epsilons),
        rates=_rates(rates),
    )


def _listed(found: Iterable[Any]) -> str:
    """Values one after the other, of many the first ones."""
    known = ["none" if value is None else shown(value) for value in found]
    text = ", ".join(known[:_MOST])
    return text if len(known) <= _MOST else f"{text} and {len(known) - _MOST} more"


def _rates(found: Mapping[str, Any]) -> str | None:
    if found["low"] is None:
        return None
    runs = "run" if found["descents"] == 1 else "runs"
    text = (
        f"{found['descents']:,} {runs} of gradient descent, η from {found['low']:.4g} to "
        f"{found['high']:.4g}"
    )
    if found["from_c"] is None:
        return text
    return f"{text}, that is {found['from_c']:.3g} to {found['to_c']:.3g} η_c"
