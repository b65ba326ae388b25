"""Test loss and accuracy against the learning rate, over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import drawing, markers
from orchestrator.report.drawing import GREY, INK, TEXT, key
from orchestrator.report.labels import family_title, in_one_line
from orchestrator.report.places import Place, Row, by_threshold, ratio
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Tables

_INCHES = (7.2, 3.7)
_ROUNDING = 1e-9
_THICK = 1.6
_SEED: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.55}
_BEST: dict[str, Any] = {
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgewidth": 1.4,
    "linestyle": "none",
}

_CAPTION = (
    "Test loss, and test accuracy where it was measured, against η/η_c, where training loss first "
    "reached ε. Thin lines: one for each seed; thick: their median, interpolated where seeds have "
    "other η/η_c, with a ring at the lowest test loss. Dotted levels: the gradient flow (median). "
    f"{markers.CAPTION} {markers.FRAME_CAPTION}"
)

Curve = list[tuple[float, float]]
"""(η/η_c, value) in ascending order."""


def test_loss(tables: Tables) -> Iterator[ReportFigure]:
    """The test loss of each family of columns that has figures of its own, where it is known."""
    for family, rows in tables.family_trials():
        places = by_threshold(rows)
        if not any(curves(its, "test_loss") for its in places.values()):
            continue
        yield ReportFigure(
            f"test-loss-{family[0]['column_id']}",
            f"Test loss: {in_one_line(family_title(family))}",
            _CAPTION,
            _alternative(places, len(family)),
            test_loss_figure(places, family_title(family)),
        )


def test_loss_figure(places: dict[float, list[Place]], title: str) -> Figure:
    """Draw the places of columns that differ in the seed alone, by ε in descending order."""
    accuracy = any(curves(its, "test_accuracy") for its in places.values())
    measures = ("test_loss", "test_accuracy") if accuracy else ("test_loss",)
    width, height = _INCHES
    figure = drawing.sheet((width, height * (1.75 if accuracy else 1.25)), title)
    panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    for axes, measure in zip(panels, measures, strict=True):
        _draw(axes, places, measure)
    handles = [
        key(drawing.threshold_name(epsilon), **drawing.cycle(number))
        for number, (epsilon, its) in enumerate(places.items())
        if curves(its, "test_loss")
    ]
    if max(map(len, places.values())) > 1:
        handles.append(key("a seed", color=GREY, **_SEED))
        handles.append(key("median over seeds", color=GREY, linewidth=_THICK))
    handles.append(key("gradient flow", color=GREY, **drawing.FLOW))
    handles.append(key("lowest test loss", color=INK, **_BEST))
    handles.append(key(r"$\eta = \eta_c$", **drawing.CRITICAL))
    handles += markers.legend(row for row in _descents(places) if row["eta_c"])
    drawing.legend_below(figure, handles, 3)
    panels[-1].set_xlabel(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    return figure


def curves(places: Sequence[Place], measure: str) -> list[Curve]:
    """A curve of each place that has one."""
    return [curve for place in places if (curve := _curve(place.included, measure))]


def _curve(rows: Sequence[Row], measure: str) -> Curve:
    """The trials of which η/η_c and the value are known."""
    return [
        (at, row[measure])
        for row in rows
        if (at := ratio(row)) is not None and row[measure] is not None
    ]


def medians(its_curves: Sequence[Curve]) -> Curve:
    """The median of curves at the η/η_c of the longest, where all of them reach.

    Seeds have the same η/η_c at one threshold only: elsewhere curves are interpolated in log η.
    """
    found = []
    for at, _ in max(its_curves, key=len, default=[]):
        values = [value for curve in its_curves if (value := _value_at(curve, at)) is not None]
        if len(values) == len(its_curves):  # fewer would make the median jump
            found.append((at, median(values)))
    return found


def _value_at(curve: Curve, at: float) -> float | None:
    """The value of a curve at η/η_c, or None outside its range but for rounding."""
    x, y = np.log([point[0] for point in curve]), [point[1] for point in curve]
    wanted = math.log(at)
    if not x[0] - _ROUNDING <= wanted <= x[-1] + _ROUNDING:
        return None
    return float(np.interp(wanted, x, y))


def _draw(axes: Axes, places: dict[float, list[Place]], measure: str) -> None:
    drawing.set_up_panel(axes, measure.replace("_", " "))
    shown: list[float] = []
    for number, its in enumerate(places.values()):
        style, its_curves = drawing.cycle(number), curves(its, measure)
        several = len(its_curves) > 1
        for curve in its_curves if several else ():
            axes.plot(*zip(*curve, strict=True), color=style["color"], **_SEED)
        middle = medians(its_curves)
        if middle:
            line: dict[str, Any] = {"markersize": 5, "linewidth": _THICK if several else 1.0}
            axes.plot(*zip(*middle, strict=True), **style, **line)
            if measure == "test_loss":
                axes.plot(*_lowest(middle), color=style["color"], **_BEST)
        levels = [level for place in its if (level := place.level(measure)) is not None]
        if levels and its_curves:
            axes.axhline(median(levels), color=style["color"], **drawing.FLOW)
        excluded = _curve([row for place in its for row in place.excluded], measure)
        for point in excluded:
            axes.plot(*point, **style, markersize=5, **markers.HOLLOW)
        shown += [value for curve in [*its_curves, excluded] for _, value in curve]
    axes.axvline(1, zorder=1.2, **drawing.CRITICAL)
    axes.set_xscale("log")
    drawing.set_log_ticks(axes.xaxis, *axes.get_xlim())
    if measure == "test_loss" and shown and drawing.spans_magnitudes(shown):
        axes.set_yscale("log")
        drawing.set_log_ticks(axes.yaxis, *axes.get_ylim())
    drawing.widen_span(axes)
    if measure == "test_loss":
        marked = [
            (drawing.cycle(number)["color"], [row for place in its for row in place.gd])
            for number, its in enumerate(places.values())
        ]
        markers.leave_room(axes, marked)
        markers.frame_markers(axes, marked, ratio)


def _descents(places: dict[float, list[Place]]) -> list[Row]:
    return [row for its in places.values() for place in its for row in place.gd]


def _lowest(curve: Curve) -> tuple[float, float]:
    return min(curve, key=lambda point: point[1])


def _alternative(places: dict[float, list[Place]], seeds: int) -> str:
    said = []
    for epsilon, its in places.items():
        if middle := medians(curves(its, "test_loss")):
            at, value = _lowest(middle)
            said.append(f"{value:.4g} at {at:.3g} η_c for ε = {epsilon:g}")
    lowest = f" Lowest test loss: {'; '.join(said)}." if said else ""
    return f"Test loss against η/η_c, {seeds} seeds.{lowest}"
