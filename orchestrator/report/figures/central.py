"""Central flows beside GD: sharpness, the growth of the norm, and test loss against η."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import drawing, markers
from orchestrator.report.drawing import GREY, INK, TEXT, key
from orchestrator.report.labels import in_one_line, title
from orchestrator.report.places import Place, Row, critical_rate, places_of
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Tables

_INCHES = (7.2, 9.0)
_FROM = 0.7
"""Of η_c: the smallest rate of GD that is shown."""

_LINE: dict[str, Any] = {"linewidth": 1.5}
_POINT: dict[str, Any] = {"markersize": 5, "linestyle": "none"}

_CAPTION = (
    "Gradient descent (points) beside its central flow (lines), the path that it follows on "
    "average without the oscillation, where their training losses first reached ε; that of the "
    "central flow is L + tr X/η. From the top: sharpness S with the edge of stability 2/η; the "
    "growth of ‖θ‖₁ beyond the gradient flow, of which the line is the bias towards flat minima, "
    "and what is between line and points the oscillation; test loss, with the gradient flow as "
    f"dotted levels. {markers.CAPTION}"
)


def central(tables: Tables) -> Iterator[ReportFigure]:
    """The central flows of each column that has figures of its own and has any."""
    tables.read(tables.shown)
    for column in tables.shown:
        rows = tables.trials(column)
        places, critical = places_of(rows), critical_rate(rows)
        found = {place.epsilon: its for place in places if (its := tables.central_of(place))}
        if found and critical is not None:
            yield ReportFigure(
                f"central-{column['column_id']}",
                f"The central flow: {in_one_line(title(column))}",
                _CAPTION,
                _alternative(places, found, critical[1]),
                central_figure(places, found, critical, title(column)),
            )


def central_figure(
    places: Sequence[Place],
    found: Mapping[float, Sequence[Row]],
    critical: tuple[float, float],
    heading: str,
) -> Figure:
    """Draw the places of one column with the central flows at each ε, against η in units of the η_c
    at the smallest ε: ``critical`` has both.
    """
    eta_c = critical[1]
    figure = drawing.sheet(_INCHES, heading)
    panels: list[Axes] = list(figure.subplots(3, 1, sharex=True))
    shown = [place for place in places if place.epsilon in found]
    for number, place in enumerate(shown):
        style = drawing.cycle(number)
        rows = found[place.epsilon]
        assert place.flow is not None
        base = {"sharpness": 0.0, "l1_norm": place.flow["l1_norm"], "test_loss": 0.0}
        for axes, (measure, start) in zip(panels, base.items(), strict=True):
            axes.plot(*_curve(rows, measure, start, eta_c), color=style["color"], **_LINE)
            axes.plot(*_curve(place.included, measure, start, eta_c), **style, **_POINT)
            excluded = _curve(place.excluded, measure, start, eta_c)
            axes.plot(*excluded, **{**style, **_POINT, **markers.HOLLOW})
        level = place.level("test_loss")
        if level is not None:
            panels[2].axhline(level, color=style["color"], **drawing.FLOW)
    labels = (
        "final sharpness  $S$",
        r"growth of $\Vert\theta\Vert_1$ beyond the flow",
        "final test loss",
    )
    for axes, label in zip(panels, labels, strict=True):
        drawing.set_up_panel(axes, label)
        axes.axvline(1, zorder=1.2, **drawing.CRITICAL)
        drawing.widen_span(axes)
    panels[0].set_xscale("log")
    drawing.set_log_ticks(panels[0].xaxis, *panels[0].get_xlim())
    _draw_edge(panels[0], eta_c)
    panels[1].axhline(0, color=INK, **drawing.FLOW)
    panels[-1].set_xlabel(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    figure.align_ylabels(panels)
    handles = [
        key(drawing.threshold_name(place.epsilon), **drawing.cycle(number), **_POINT)
        for number, place in enumerate(shown)
    ]
    handles += [
        key("central flow", color=GREY, **_LINE),
        key("gradient descent", color=GREY, marker="o", **_POINT),
        key("gradient flow", color=GREY, **drawing.FLOW),
        key(drawing.EDGE_NAME, **drawing.EDGE),
        key(drawing.critical_name(critical), **drawing.CRITICAL),
    ]
    handles += markers.legend((row for place in shown for row in place.gd), frame=False)
    drawing.legend_below(figure, handles, 3)
    return figure


def _curve(
    rows: Sequence[Row], measure: str, start: float, eta_c: float
) -> tuple[list[float], list[float]]:
    """η/η_c from a little below 1 on, and the measure beyond its ``start``."""
    known = [row for row in rows if row["eta"] >= _FROM * eta_c and row[measure] is not None]
    return [row["eta"] / eta_c for row in known], [row[measure] - start for row in known]


def _draw_edge(axes: Axes, eta_c: float) -> None:
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    across = np.geomspace(low, high, 100)
    axes.plot(across, 2 / (across * eta_c), scaley=False, **drawing.EDGE)
    drawing.set_log_ticks(axes.yaxis, *axes.get_ylim())


def _alternative(
    places: Sequence[Place], found: Mapping[float, Sequence[Row]], eta_c: float
) -> str:
    rates = [row["eta"] / eta_c for rows in found.values() for row in rows]
    return (
        "Three panels against η/η_c: sharpness, the growth of ‖θ‖₁ beyond the gradient flow, and "
        f"test loss, of gradient descent and of central flows from {min(rates):.3g} to "
        f"{max(rates):.3g} η_c, for {len(found)} loss thresholds of {len(places)}."
    )
