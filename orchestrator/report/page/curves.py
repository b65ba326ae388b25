"""The numbers behind the figures of the page, as columns of JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.spec import NAMES
from orchestrator.analysis.groups import aliases
from orchestrator.report.drawing import cycle, ordered_colors
from orchestrator.report.figures.trajectories import chosen_trials, thinned
from orchestrator.report.labels import PROBLEM, field_name, in_one_line, shortened, title
from orchestrator.report.markers import MARKERS
from orchestrator.report.page.sections import FIELDS
from orchestrator.report.places import MEASURES, Row, places_of, ratio
from orchestrator.report.tables import Column, Tables, Trajectory, values

DIGITS = 5
"""Significant ones of a number on the page, which shows four."""

_FEW_COLORS = 6

_PHASE = (
    *("eta_c_fitted", "eta_c_fitted_low", "eta_c_fitted_high", "transition", "edge_ratio"),
    *("edge_exponent", "eta_best_over_eta_c", "u_shaped", "u_depth", "u_spread", "undecided"),
)
"""What the page shows of ``phase``; what the analysis has not got is not known."""

_MEASURES = ("sharpness", "l1_norm", "test_loss", "test_accuracy", "steps")

MOST_POINTS, LEAST_POINTS = 200, 40
"""Of a trial in time."""

ALL_POINTS = 300_000
"""Of all trials together: more trials have fewer points each, down to ``LEAST_POINTS``."""

_AT_ONCE = 500
"""Trials whose recorded steps are in memory together."""

_DIGITS_IN_TIME = 4


def curves(tables: Tables) -> dict[str, Any]:
    """What the scripts of the page read.

    ``axes`` are the fields with several values; ``columns`` the columns, each with the number of
    its value on every axis, and those of the other parameterizations under which it is the same
    problem; ``markers`` say how trials of each exclusion are drawn; ``places`` have their flow and
    what the analysis says of them; ``crossings`` GD at a place, column by column; ``paths`` trials
    in time.
    """
    columns = tables.shown
    tables.read(columns)
    axes = _axes(columns)
    also = _other_parameterizations(columns, axes.get("parameterization", []))
    epsilons = sorted({row["epsilon"] for one in columns for row in tables.trials(one)})
    places, crossings = _places(tables, columns, epsilons)
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
        "markers": [
            *(
                {"drawn": one.drawn, "label": one.label, "symbol": one.symbol}
                for one in MARKERS.values()
            ),
            {"drawn": "line", "label": NAMES["central"], "symbol": ""},
        ],
        "places": places,
        "crossings": crossings,
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


def _other_parameterizations(
    columns: Sequence[Column], parameterizations: Sequence[Any]
) -> list[list[int]]:
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
        text = "none" if value is None else shortened(value)
        words.append(text if text not in words else f"{text} ({len(words) + 1})")
    return words


def _colors(count: int, *, ordered: bool) -> list[str]:
    return ordered_colors(count) if ordered else [cycle(number)["color"] for number in range(count)]


def _places(
    tables: Tables, columns: Sequence[Column], epsilons: Sequence[float]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """All places, and GD at each in ascending η, before the central flows there; ``marker`` is the
    number of what draws a trial.
    """
    places: list[dict[str, Any]] = []
    crossings: list[dict[str, Any]] = []
    markers = list(MARKERS)
    for number, column in enumerate(columns):
        rows = tables.trials(column)
        eta_c = {row["epsilon"]: row["eta_c"] for row in rows if row["eta_c"] is not None}
        for place in places_of(rows):
            phase = tables.phases.get((column["column_id"], place.epsilon), {})
            drawn = [(row, markers.index(row["exclusion"])) for row in place.gd]
            drawn += [(row, len(markers)) for row in tables.central_of(place)]
            crossings += [
                {
                    "place": len(places),
                    "eta": row["eta"],
                    "marker": marker,
                    **{measure: row[measure] for measure in _MEASURES},
                }
                for row, marker in drawn
            ]
            places.append(
                {
                    "column": number,
                    "epsilon": epsilons.index(place.epsilon),
                    "eta_c": eta_c.get(place.epsilon),
                    **{name: phase.get(name) for name in _PHASE},
                    **{measure: place.level(measure) for measure in MEASURES},
                }
            )
    return _columnar(places), _columnar(crossings)


def _columnar(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as a list for each name; none of it where there are no rows."""
    names = list(rows[0]) if rows else []
    return {name: [rounded(row[name]) for row in rows] for name in names}


def paths(tables: Tables, columns: Sequence[Column]) -> dict[str, Any]:
    """The ``trials`` near η_c of each column, and ``most``, the points that one may have.

    Which these are is said by :func:`orchestrator.report.figures.trajectories.chosen_trials`.
    Points are the lowest and the highest sharpness of every short stretch.
    """
    chosen = [
        (n, row) for n, one in enumerate(columns) for row in chosen_trials(tables.trials(one))
    ]
    most = max(LEAST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, len(chosen))))
    found: list[dict[str, Any]] = []
    for start in range(0, len(chosen), _AT_ONCE):
        some = chosen[start : start + _AT_ONCE]
        steps = tables.trajectories([row["trial_id"] for _, row in some])
        found += [
            {"column": number, **_path(row, steps[row["trial_id"]].in_gds_units(row), most)}
            for number, row in some
            if row["trial_id"] in steps
        ]
    return {"most": most, "trials": [path for path in found if path["time"]]}


def _path(row: Row, steps: Trajectory, most: int) -> dict[str, Any]:
    digits = _DIGITS_IN_TIME
    places = np.arange(len(steps.step), dtype=np.float64)
    kept = thinned(places, steps.sharpness, most)[0].astype(int)
    in_time = {"time": steps.time, "sharpness": steps.sharpness, "train_loss": steps.train_loss}
    return {
        "eta": rounded(row["eta"], digits),
        "marker": None if row["exclusion"] is None else list(MARKERS).index(row["exclusion"]),
        "ratio": rounded(ratio(row), digits),
        **{
            name: [rounded(value, digits) for value in of[kept].tolist()]
            for name, of in in_time.items()
        },
    }


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """A number to some digits, None for one that is not finite; anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
