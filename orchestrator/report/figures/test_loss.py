"""Test loss and accuracy against the learning rate, over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from orchestrator.report.figures.drawing import CRITICAL, FLOW, ReportFigure
from orchestrator.report.labels import family_title, in_one_line
from orchestrator.report.markers import (
    CAPTION,
    FRAME_CAPTION,
    HOLLOW,
    frame_markers,
    leave_room,
    marker_legend,
)
from orchestrator.report.places import EXCLUDED, Row, places_of
from orchestrator.report.style import (
    GREY,
    INK,
    SMALL,
    TEXT,
    cycle,
    set_log_ticks,
    set_up_panel,
    widen_span,
)
from orchestrator.report.tables import Tables

_INCHES = (7.2, 3.7)
_MAGNITUDES = 10.0
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
    f"{CAPTION} {FRAME_CAPTION}"
)

Curve = list[tuple[float, float]]
"""(η/η_c, value) in ascending order."""


def test_loss(tables: Tables) -> Iterator[ReportFigure]:
    """The test loss of each family of columns that has figures of its own."""
    tables.read(column for family in tables.shown_families for column in family)
    for family in tables.shown_families:
        rows = [tables.trials(column) for column in family]
        if not any(curves(rows, "test_loss").values()):
            continue
        yield ReportFigure(
            f"test-loss-{family[0]['column_id']}",
            f"Test loss: {in_one_line(family_title(family))}",
            _CAPTION,
            _alternative(rows),
            test_loss_figure(rows, family_title(family)),
        )


def test_loss_figure(columns: Sequence[Sequence[Row]], title: str) -> Figure:
    """Draw the trials of columns that differ in the seed alone."""
    accuracy = any(curves(columns, "test_accuracy").values())
    measures = ("test_loss", "test_accuracy") if accuracy else ("test_loss",)
    width, height = _INCHES
    figure = Figure(
        figsize=(width, height * (1.75 if accuracy else 1.25)),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    for axes, measure in zip(panels, measures, strict=True):
        _draw(axes, columns, measure)
    handles = [
        Line2D(
            [],
            [],
            **cycle(n),
            label=rf"$\varepsilon$ = {e:g}",
        )
        for n, (e, found) in enumerate(curves(columns, "test_loss").items())
        if found
    ]
    if len(columns) > 1:
        handles.append(Line2D([], [], color=GREY, label="a seed", **_SEED))
        handles.append(Line2D([], [], color=GREY, label="median over seeds", linewidth=_THICK))
    handles.append(Line2D([], [], color=GREY, label="gradient flow", **FLOW))
    handles.append(Line2D([], [], color=INK, label="lowest test loss", **_BEST))
    handles.append(Line2D([], [], label=r"$\eta = \eta_c$", **CRITICAL))
    handles += marker_legend(row for rows in columns for row in rows if row["eta_c"])
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False
    )
    panels[-1].set_xlabel(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    figure.suptitle(title, fontsize=TEXT, parse_math=False)
    return figure


def curves(columns: Sequence[Sequence[Row]], measure: str) -> dict[float, list[Curve]]:
    """By threshold, largest first, a curve of each column that has one."""
    found: dict[float, list[Curve]] = {}
    for rows in columns:
        for series in places_of(rows):
            curve = _curve(series.settled, measure)
            found.setdefault(series.epsilon, []).extend([curve] if curve else [])
    return dict(sorted(found.items(), reverse=True))


def _curve(rows: Sequence[Row], measure: str) -> Curve:
    """The runs of which η/η_c and the value are known."""
    return [
        (row["eta"] / row["eta_c"], row[measure])
        for row in rows
        if row["eta_c"] and row[measure] is not None
    ]


def medians(its_curves: Sequence[Curve]) -> Curve:
    """The median of curves at the η/η_c of the longest, where all of them reach.

    Seeds have the same η/η_c at one threshold only: elsewhere curves are interpolated in log η.
    """
    found = []
    for ratio, _ in max(its_curves, key=len, default=[]):
        values = [value for curve in its_curves if (value := _at(curve, ratio)) is not None]
        if len(values) == len(its_curves):  # fewer would make the median jump
            found.append((ratio, median(values)))
    return found


def _at(curve: Curve, ratio: float) -> float | None:
    """The value of a curve at η/η_c, or None outside its range but for rounding."""
    x, y = np.log([point[0] for point in curve]), [point[1] for point in curve]
    wanted = math.log(ratio)
    if not x[0] - _ROUNDING <= wanted <= x[-1] + _ROUNDING:
        return None
    return float(np.interp(wanted, x, y))


def _draw(axes: Axes, columns: Sequence[Sequence[Row]], measure: str) -> None:
    set_up_panel(axes, measure.replace("_", " "))
    levels = _levels(columns, measure)
    shown: list[float] = []
    runs = _runs(columns)
    for number, (epsilon, its_curves) in enumerate(curves(columns, measure).items()):
        its = cycle(number)
        several = len(its_curves) > 1
        for curve in its_curves if several else ():
            axes.plot(*zip(*curve, strict=True), color=its["color"], **_SEED)
        middle = medians(its_curves)
        if middle:
            style: dict[str, Any] = {"markersize": 5, "linewidth": _THICK if several else 1.0}
            axes.plot(*zip(*middle, strict=True), **its, **style)
            best = min(middle, key=lambda point: point[1])
            if measure == "test_loss":
                axes.plot(*best, color=its["color"], **_BEST)
        if epsilon in levels and its_curves:
            axes.axhline(levels[epsilon], color=its["color"], **FLOW)
        excluded = _curve([row for row in runs[epsilon] if row["fate"] in EXCLUDED], measure)
        for point in excluded:
            axes.plot(*point, **its, markersize=5, **HOLLOW)
        shown += [value for curve in [*its_curves, excluded] for _, value in curve]
    axes.axvline(1, zorder=1.2, **CRITICAL)
    axes.set_xscale("log")
    set_log_ticks(axes.xaxis, *axes.get_xlim())
    if measure == "test_loss" and shown and 0 < _MAGNITUDES * min(shown) < max(shown):
        axes.set_yscale("log")
        set_log_ticks(axes.yaxis, *axes.get_ylim())
    widen_span(axes)
    if measure == "test_loss":
        marked = [(cycle(number)["color"], runs[epsilon]) for number, epsilon in enumerate(runs)]
        leave_room(axes, marked)
        frame_markers(axes, marked, _ratio)


def _runs(columns: Sequence[Sequence[Row]]) -> dict[float, list[Row]]:
    """All runs of GD by threshold, largest first."""
    found: dict[float, list[Row]] = {}
    for rows in columns:
        for series in places_of(rows):
            found.setdefault(series.epsilon, []).extend(series.gd)
    return dict(sorted(found.items(), reverse=True))


def _ratio(row: Row) -> float | None:
    """η/η_c, where η_c is known."""
    return row["eta"] / row["eta_c"] if row["eta_c"] else None


def _levels(columns: Sequence[Sequence[Row]], measure: str) -> Mapping[float, float]:
    """The median of the flows by threshold."""
    values: dict[float, list[float]] = {}
    for rows in columns:
        for series in places_of(rows):
            level = series.level(measure)
            if level is not None:
                values.setdefault(series.epsilon, []).append(level)
    return {epsilon: median(its) for epsilon, its in values.items()}


def _alternative(columns: Sequence[Sequence[Row]]) -> str:
    said = []
    for epsilon, its_curves in curves(columns, "test_loss").items():
        middle = medians(its_curves)
        if middle:
            ratio, value = min(middle, key=lambda point: point[1])
            said.append(f"{value:.4g} at {ratio:.3g} η_c for ε = {epsilon:g}")
    lowest = f" Lowest test loss: {'; '.join(said)}." if said else ""
    return f"Test loss against η/η_c, {len(columns)} seeds.{lowest}"
