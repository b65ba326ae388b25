"""How the runs of every fate are drawn, in figures and on the page: here and nowhere else.

Runs that count are filled markers, joined by a line. Runs that reached ε and are excluded from the
analysis are the same markers, hollow, and on no line. Runs that did not reach ε have no value
there: they are marks along the frame, crosses above and strokes below, where the axis is one of η.
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
from orchestrator.report.places import EXCLUDED, Row
from orchestrator.report.style import GREY

Groups = Sequence[tuple[str, Sequence[Row]]]
"""Runs that have a colour in common, with it."""

CAPTION = (
    "Hollow, and on no line: runs that reached ε but are excluded from the analysis, because they "
    "came to it by accident (far above 2/η) or their S did not converge or was not measured."
)
FRAME_CAPTION = "Marks along the frame: runs that diverged (×) or stopped short of ε (|)."


@dataclass(frozen=True)
class Marker:
    """How runs of one fate are drawn, and what a legend calls them.

    ``symbol`` is Plotly's name of a mark along the frame, ``style`` what Matplotlib makes of it.
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
    CHANCE_CROSSING: Marker("hollow", "by accident"),
}

HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "linestyle": "none"}


def excluded_name(fates: Iterable[str]) -> str:
    """The excluded runs in a legend, with the reasons that there are.

    >>> excluded_name(["chaotic", "unconverged", "chaotic"])
    'excluded (S not converged, by accident)'
    """
    there = set(fates)
    return f"excluded ({', '.join(MARKERS[fate].label for fate in MARKERS if fate in there)})"


def leave_room(axes: Axes, groups: Groups) -> None:
    """Widen the vertical axis for the marks of runs that did not reach ε."""
    rows = [row for _, its in groups for row in its]
    height = _step(groups) * (len(groups) + 1)
    room = [height * any(row["fate"] == fate for row in rows) for fate in (SHORT, DIVERGED)]
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
    """Mark the runs that did not reach ε along the frame, in a row of marks for each group.

    ``place`` is where a run is on the horizontal axis, None for nowhere.
    """
    step, across = _step(groups), axes.get_xaxis_transform()
    for fate, mark in MARKERS.items():
        for number, (color, rows) in enumerate(groups if mark.style else (), start=1):
            at = [place(row) for row in rows if row["fate"] == fate]
            known = [one for one in at if one is not None]
            height = 1 - step * number if mark.drawn == "above" else step * number
            if known:
                where: dict[str, Any] = {"transform": across, "scalex": False, "scaley": False}
                axes.plot(known, [height] * len(known), color=color, **where, **(mark.style or {}))


def _step(groups: Groups) -> float:
    """Between rows of marks, as a share of the panel's height."""
    return min(0.035, 0.16 / max(1, len(groups)))


def marker_legend(rows: Iterable[Row], *, frame: bool = True) -> list[Line2D]:
    """Legend entries of what is drawn of these runs besides those that count."""
    there = {row["fate"] for row in rows}
    entries = []
    if there.intersection(EXCLUDED):
        label = excluded_name(there.intersection(EXCLUDED)).replace("S ", "$S$ ")
        style: dict[str, Any] = {"color": GREY, "marker": "o", "markersize": 5.5, **HOLLOW}
        entries.append(Line2D([], [], label=label, **style))
    for fate, mark in MARKERS.items():
        if frame and fate in there and mark.style is not None:
            label = mark.label.replace("ε", r"$\varepsilon$")
            entries.append(Line2D([], [], color=GREY, label=label, **mark.style))
    return entries
