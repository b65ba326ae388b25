"""How trials of every exclusion are drawn, in figures and on the page: here and nowhere else.

Trials that count are filled markers, joined by a line. Trials that reached ε and are excluded from
the analysis are the same markers, hollow, and on no line. Trials that did not reach ε have no value
there: they are markers along the frame, crosses above and strokes below, where the axis is of η.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from orchestrator.analysis.crossings import (
    CHANCE_CROSSING,
    DIVERGED,
    INCLUDED,
    SHORT,
    UNCONVERGED,
    UNMEASURED,
)
from orchestrator.report.drawing import GREY
from orchestrator.report.places import EXCLUDED, Place, Row, points

Groups = Sequence[tuple[str, Sequence[Row]]]
"""Trials that have a colour in common, with it."""

CAPTION = (
    "Hollow, and on no line: trials that reached ε but are excluded from the analysis: chance "
    "crossings (S far above 2/η), and trials whose S did not converge or was not measured."
)
FRAME_CAPTION = "Markers along the frame: trials that diverged (×) or stopped short of ε (|)."


@dataclass(frozen=True)
class Marker:
    """How trials of one exclusion are drawn, and what a legend calls them.

    ``symbol`` is Plotly's name of a marker along the frame, ``style`` what Matplotlib makes of it.
    """

    drawn: Literal["joined", "hollow", "above", "below"]
    label: str
    symbol: str = ""
    style: Mapping[str, Any] | None = None


_STROKE: dict[str, Any] = {"markeredgewidth": 1.8, "linestyle": "none"}

MARKERS: dict[str, Marker] = {
    INCLUDED: Marker("joined", "gradient descent"),
    DIVERGED: Marker(
        "above", "diverged", "x-thin-open", {"marker": "x", "markersize": 7, **_STROKE}
    ),
    SHORT: Marker(
        "below",
        "stopped short of ε",
        "line-ns-open",
        {"marker": "|", "markersize": 5.5, **_STROKE},
    ),
    UNMEASURED: Marker("hollow", "S not measured"),
    UNCONVERGED: Marker("hollow", "S not converged"),
    CHANCE_CROSSING: Marker("hollow", "chance crossing"),
}

HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}


def excluded_name(exclusions: Iterable[str]) -> str:
    """The excluded trials in a legend, with the reasons that there are.

    >>> excluded_name(["chance_crossing", "unconverged"])
    'excluded (S not converged, chance crossing)'
    """
    there = set(exclusions)
    return f"excluded ({', '.join(MARKERS[one].label for one in MARKERS if one in there)})"


def draw_gd(axes: Axes, place: Place, measure: str, label: str | None = None, **style: Any) -> None:
    """A measure of GD at a place: trials that count on a line, excluded ones hollow."""
    axes.plot(*points(place.included, measure), label=label, **style)
    axes.plot(*points(place.excluded, measure), **{**style, **HOLLOW})


def leave_room(axes: Axes, groups: Groups) -> None:
    """Widen the vertical axis for the markers of trials that did not reach ε."""
    there = {row["exclusion"] for _, rows in groups for row in rows}
    height = _step(groups) * (len(groups) + 1)
    room = [height * (exclusion in there) for exclusion in (SHORT, DIVERGED)]
    is_log = axes.get_yscale() == "log"
    low, high = np.log10(axes.get_ylim()) if is_log else np.array(axes.get_ylim())
    span = (high - low) / (1 - sum(room))
    ends = np.array([low - span * room[0], high + span * room[1]])
    axes.set_ylim(*(10**ends if is_log else ends))


def frame_markers(
    axes: Axes,
    groups: Groups,
    place: Callable[[Row], float | None] = lambda row: row["eta"],
) -> None:
    """Mark the trials that did not reach ε along the frame, in a row of markers for each group.

    ``place`` is where a trial is on the horizontal axis, None for nowhere.
    """
    step = _step(groups)
    where: dict[str, Any] = {"transform": axes.get_xaxis_transform()}
    where |= {"scalex": False, "scaley": False}
    for exclusion, marker in MARKERS.items():
        for number, (color, rows) in enumerate(groups if marker.style else (), start=1):
            at = [place(row) for row in rows if row["exclusion"] == exclusion]
            known = [one for one in at if one is not None]
            height = 1 - step * number if marker.drawn == "above" else step * number
            if known:
                heights = [height] * len(known)
                axes.plot(known, heights, color=color, **where, **(marker.style or {}))


def _step(groups: Groups) -> float:
    """Between rows of markers, as a share of the panel's height."""
    return min(0.035, 0.16 / max(1, len(groups)))


def legend(rows: Iterable[Row], *, frame: bool = True) -> list[Line2D]:
    """Legend entries of what is drawn of these trials besides those that count."""
    there = {row["exclusion"] for row in rows}
    entries = []
    if there.intersection(EXCLUDED):
        label = excluded_name(there.intersection(EXCLUDED)).replace("S ", "$S$ ")
        style: dict[str, Any] = {"color": GREY, "marker": "o", "markersize": 5.5, **HOLLOW}
        entries.append(Line2D([], [], label=label, **style))
    for exclusion, marker in MARKERS.items():
        if frame and exclusion in there and marker.style is not None:
            label = marker.label.replace("ε", r"$\varepsilon$")
            entries.append(Line2D([], [], color=GREY, label=label, **marker.style))
    return entries
