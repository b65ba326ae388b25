"""The numbers behind the figures of the page, as columns of JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.analysis.groups import aliases
from orchestrator.report.groups import values
from orchestrator.report.look import look, sequence
from orchestrator.report.marks import MARKS
from orchestrator.report.page.paths import paths
from orchestrator.report.page.problems import FIELDS
from orchestrator.report.series import Series, series_by_epsilon
from orchestrator.report.tables import Column, Tables
from orchestrator.report.words import PROBLEM, field_name, in_one_line, shown, title

Phases = Mapping[tuple[str, float], Mapping[str, Any]]

DIGITS = 5
"""Significant ones of a number on the page, which shows four."""

_FEW_COLORS = 6

_PHASE = (
    *("eta_c_fitted", "eta_c_fitted_low", "eta_c_fitted_high", "transition", "edge_ratio"),
    *("edge_exponent", "eta_best_over_eta_c", "u_shaped", "u_depth", "u_spread", "undecided"),
)
"""What the page shows of ``phase``; what the analysis has not got is not known."""

_MEASURES = ("sharpness", "l1_norm", "test_loss", "test_accuracy", "steps")


def curves(tables: Tables, phases: Phases) -> dict[str, Any]:
    """What the scripts of the page read.

    ``phases`` are the rows of the analysis by column_id and ε. Of the result, ``axes`` are the
    fields with several values; ``columns`` the columns, each with the number of its value on every
    axis, and those of the other parameterizations under which it is the same problem; ``marks`` say
    how runs of each fate are drawn; ``places`` are pairs of a column and a threshold with their
    flow and what the analysis says; ``runs`` GD at a place, column by column; ``paths`` runs in
    time.
    """
    columns = tables.shown
    tables.read(columns)
    axes = _axes(columns)
    also = _stand_ins(columns, axes.get("parameterization", []))
    epsilons = sorted({row["epsilon"] for one in columns for row in tables.trials(one)})
    places, runs = _places(tables, columns, epsilons, phases)
    return {
        "axes": [_shown(field, found) for field, found in axes.items()],
        "epsilons": {
            "values": _told_apart(epsilons),
            "colors": _colors(len(epsilons), ordered=len(epsilons) > _FEW_COLORS),
        },
        "columns": [
            {
                "id": column["column_id"],
                "title": in_one_line(title(column)),
                "at": [found.index(column[field]) for field, found in axes.items()],
                "also": also[number],
            }
            for number, column in enumerate(columns)
        ],
        "marks": [
            {"drawn": mark.drawn, "label": mark.label, "symbol": mark.symbol}
            for mark in MARKS.values()
        ],
        "places": places,
        "runs": runs,
        "paths": paths(tables, columns),
    }


def _axes(columns: Sequence[Column]) -> dict[str, list[Any]]:
    """The values of the fields in which columns differ.

    Fields that no title names are left out where another field implies them.
    """
    found = {field: values(columns, field) for field in FIELDS}
    several = [field for field in FIELDS if len(found[field]) > 1]
    named = [field for field in several if field in PROBLEM]
    return {
        field: found[field]
        for field in several
        if field in PROBLEM or not any(_implies(columns, other, field) for other in named)
    }


def _stand_ins(columns: Sequence[Column], parameterizations: Sequence[Any]) -> list[list[int]]:
    """The other parameterizations of each column: at the base width, the standard one is each."""
    found: list[set[int]] = [set() for _ in columns]
    for place, other in aliases(columns, "width") if parameterizations else ():
        found[place].add(parameterizations.index(other["parameterization"]))
    return [sorted(its) for its in found]


def _implies(columns: Sequence[Column], field: str, other: str) -> bool:
    """Whether columns with equal values of one field have equal values of another."""
    pairs = {(column[field], column[other]) for column in columns}
    return len(pairs) == len({value for value, _ in pairs})


def _shown(field: str, found: Sequence[Any]) -> dict[str, Any]:
    numbers = all(isinstance(value, (int, float)) for value in found)
    return {
        "field": field,
        "name": field_name(field),
        "values": _told_apart(found),
        "colors": _colors(len(found), ordered=numbers and len(found) > 3),
    }


def _told_apart(found: Sequence[Any]) -> list[str]:
    """Values in words, with a number behind those that would read like another."""
    words: list[str] = []
    for value in found:
        text = "none" if value is None else shown(value)
        words.append(text if text not in words else f"{text} ({len(words) + 1})")
    return words


def _colors(count: int, *, ordered: bool) -> list[str]:
    return sequence(count) if ordered else [look(number).color for number in range(count)]


def _places(
    tables: Tables, columns: Sequence[Column], epsilons: Sequence[float], phases: Phases
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """All pairs of a column and a threshold, and all GD runs at them."""
    places: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    for number, column in enumerate(columns):
        rows = tables.trials(column)
        for series in series_by_epsilon(rows):
            its = [row for row in rows if row["epsilon"] == series.epsilon]
            phase = phases.get((column["column_id"], series.epsilon), {})
            rates = [row["eta_c"] for row in its if row["eta_c"] is not None]
            places.append(
                {
                    "column": number,
                    "epsilon": epsilons.index(series.epsilon),
                    "eta_c": rates[0] if rates else None,
                    **{name: phase.get(name) for name in _PHASE},
                    "sharpness": series.level("sharpness"),
                    "l1_norm": series.level("l1_norm"),
                    "test_loss": series.level("test_loss"),
                }
            )
            runs += _runs(series, len(places) - 1)
    return _columnar(places), _columnar(runs)


def _runs(series: Series, place: int) -> Iterable[dict[str, Any]]:
    """The GD runs of one place in ascending η; ``fate`` is the number of its mark."""
    fates = list(MARKS)
    for row in series.gd:
        yield {
            "place": place,
            "eta": row["eta"],
            "fate": fates.index(row["fate"]),
            **{measure: row[measure] for measure in _MEASURES},
        }


def _columnar(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as a list for each name; none of it where there are no rows."""
    names = list(rows[0]) if rows else []
    return {name: [rounded(row[name]) for row in rows] for name in names}


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """A number to so many digits, None for one that is not finite; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
