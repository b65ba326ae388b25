"""The fitted η_c against the one that the flow predicts, over all columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import drawing
from orchestrator.report.drawing import EDGE, FLOW, GREY, TEXT, key
from orchestrator.report.labels import in_one_line, value_of, without_math
from orchestrator.report.places import Row
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Column, Tables, varying

MOST_COLORS = 6

_INCHES = (6.6, 7.4)
_DENSE = 300
"""Points from which they are small and without error bars."""
_AS_SHARP = 0.97
_LEAST_FOR_SLOPE = 5
_LEAST = 0.02
"""The axis of ratios goes at least so far from 1."""
_EQUAL: dict[str, Any] = {**EDGE, "zorder": 4}
_MEDIAN: dict[str, Any] = {"color": GREY, "zorder": 4, **FLOW}
_HALF: dict[str, Any] = {"fillstyle": "left", "markerfacecoloralt": "white"}
"""Of columns whose flow was sharper before ε; hollow are excluded trials, in the other figures."""
_FIELDS = (
    *("parameterization", "loss", "activation", "architecture", "dataset", "width", "depth"),
    *("init_scale", "n_train"),
)
"""By which points are coloured: the first in which the columns differ, in a few values."""


@dataclass(frozen=True)
class Point:
    """A column at a threshold; ``low`` and ``high`` bound the fitted η_c where they are known."""

    column: Column
    epsilon: float
    predicted: float
    fitted: float
    low: float | None
    high: float | None
    flow_sharpness: float | None

    @property
    def late(self) -> bool:
        """Whether the flow is as sharp at ε as it ever was."""
        if self.flow_sharpness is None:
            return True
        return self.flow_sharpness * self.predicted / 2 > _AS_SHARP


def agreement(tables: Tables) -> Iterator[ReportFigure]:
    """One figure of every column and threshold at which both are known; none of fewer than two."""
    points = chosen_points(tables.columns, tables.phases.values())
    if len(points) < 2:
        return
    yield ReportFigure(
        "agreement",
        "The critical learning rate: predicted and fitted",
        _caption(points, len(tables.phases)),
        _alternative(points),
        agreement_figure(points),
    )


def chosen_points(columns: Sequence[Column], phases: Iterable[Row]) -> list[Point]:
    """The columns and thresholds at which both η_c are known and positive."""
    by_id = {column["column_id"]: column for column in columns}
    return [
        Point(
            by_id[row["column_id"]],
            row["epsilon"],
            row["eta_c"],
            row["eta_c_fitted"],
            row["eta_c_fitted_low"],
            row["eta_c_fitted_high"],
            row["flow_sharpness"],
        )
        for row in phases
        if row["column_id"] in by_id and _is_rate(row["eta_c"]) and _is_rate(row["eta_c_fitted"])
    ]


def agreement_figure(points: Sequence[Point]) -> Figure:
    """Draw both η_c against each other, and their ratio."""
    figure = drawing.sheet(_INCHES, _summary(points))
    both, ratio = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    styled = _styled(points)
    for _, style, its_points in styled:
        _draw(both, its_points, 1.0, style, len(points) > _DENSE)
        _draw(ratio, its_points, None, style, len(points) > _DENSE)
    rates = [rate for point in points for rate in (point.predicted, point.fitted)]
    low, high = min(rates) / 1.15, max(rates) * 1.15
    both.plot([low, high], [low, high], **_EQUAL)
    ratio.axhline(1, **_EQUAL)
    ratio.axhline(_median(points), **_MEDIAN)
    bottom, top = ratio.get_ylim()
    ratio.set_ylim(min(bottom, 1 - _LEAST), max(top, 1 + _LEAST))
    for axes in (both, ratio):
        drawing.set_log_axis(axes, "x", low, high)
    drawing.set_log_axis(both, "y", low, high)
    drawing.set_up_panel(both, r"fitted  $\eta_c$")
    drawing.set_up_panel(ratio, "fitted / predicted")
    ratio.set_xlabel(r"predicted  $\eta_c = 2/s_\mathrm{gf}$", fontsize=TEXT)
    figure.align_ylabels([both, ratio])
    dot: dict[str, Any] = {"markersize": 5, "linestyle": "none"}
    handles = [key(without_math(name), **style, **dot) for name, style, _ in styled]
    if not all(point.late for point in points):
        early = {"color": GREY, "marker": "o", **dot, **_HALF}
        handles.append(key(r"flow sharper before $\varepsilon$", **early))
    handles += [key("equal", **_EQUAL), key("median ratio", **_MEDIAN)]
    drawing.legend_below(figure, handles, 3)
    return figure


def _is_rate(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _draw(
    axes: Axes, points: Sequence[Point], scale: float | None, style: Mapping[str, Any], dense: bool
) -> None:
    """The fitted η_c with its bounds; without a scale, over the predicted one."""
    units = [point.predicted if scale is None else scale for point in points]
    x = [point.predicted for point in points]
    y = [point.fitted / unit for point, unit in zip(points, units, strict=True)]
    if not dense:
        bounds = [_bounds(point) for point in points]
        below = [low / unit for (low, _), unit in zip(bounds, units, strict=True)]
        above = [high / unit for (_, high), unit in zip(bounds, units, strict=True)]
        axes.vlines(x, below, above, color=style["color"], linewidth=0.8, alpha=0.6)
    points_style: dict[str, Any] = {"markersize": 4.5, "markeredgewidth": 0.9}
    if dense:  # rasterized, or a vector graphic would be megabytes
        points_style = {"markersize": 2.5, "markeredgewidth": 0.4, "alpha": 0.6, "rasterized": True}
    for late, fill in ((True, {}), (False, _HALF)):
        chosen = [number for number, point in enumerate(points) if point.late is late]
        axes.plot(
            [x[number] for number in chosen],
            [y[number] for number in chosen],
            linestyle="none",
            zorder=3,
            **style,
            **points_style,
            **fill,
        )


def _bounds(point: Point) -> tuple[float, float]:
    if point.low is None or point.high is None:
        return point.fitted, point.fitted
    return point.low, point.high


def _styled(points: Sequence[Point]) -> list[tuple[str, dict[str, Any], list[Point]]]:
    """The points by the value of a field, each group with its name and its style."""
    columns = list({point.column["column_id"]: point.column for point in points}.values())
    differ = set(varying(columns))
    for field in (*_FIELDS, "epsilon"):
        found: dict[Any, list[Point]] = {}
        for point in points:
            value = point.epsilon if field == "epsilon" else point.column[field]
            found.setdefault(value, []).append(point)
        if (field in differ or field == "epsilon") and len(found) <= MOST_COLORS:
            ordered = sorted(found, key=lambda one: (one is None, 0 if one is None else one))
            return [
                (value_of(field, value), style, found[value])
                for value, style in zip(ordered, drawing.styles_of(ordered), strict=True)
            ]
    return [("columns", drawing.cycle(0), list(points))]


def _median(points: Sequence[Point]) -> float:
    return median(point.fitted / point.predicted for point in points)


def _slope(points: Sequence[Point]) -> float | None:
    """That of the least-squares line of log fitted on log predicted, where they vary enough."""
    if len(points) < _LEAST_FOR_SLOPE:
        return None
    x, y = (np.log([getattr(p, name) for p in points]) for name in ("predicted", "fitted"))
    across = x - x.mean()
    spread = float(across @ across)
    return float(across @ (y - y.mean())) / spread if np.ptp(x) > math.log(1.5) else None


def _summary(points: Sequence[Point]) -> str:
    late = [point for point in points if point.late]
    said = f"fitted / predicted: median {_median(points):.3f} of {len(points)}"
    if 0 < len(late) < len(points):
        said += f", {_median(late):.3f} of {len(late)} whose flow is sharpest at ε"
    slope = _slope(points)
    return said if slope is None else f"{said}\nslope of log fitted on log predicted: {slope:.3f}"


def _caption(points: Sequence[Point], known: int) -> str:
    several = f"{len(points)} of {known}"
    return (
        "The learning rate at which the final sharpness of gradient descent bends, fitted, against "
        "η_c = 2/s_gf, which the gradient flow alone predicts; below, their ratio. A point for "
        f"each column and threshold ε at which both are known, {several}. Bars, where the analysis "
        "has them: 95 % of the fit. Dashed: equal. Half-filled: the flow was sharper before ε than "
        "at it, so that s_gf is not the sharpness of the solutions that gradient descent has to "
        "leave, and the fitted η_c is larger."
    )


def _alternative(points: Sequence[Point]) -> str:
    ratios = [point.fitted / point.predicted for point in points]
    return (
        f"Fitted against predicted critical learning rate, {in_one_line(_summary(points))}; from "
        f"{min(ratios):.3g} to {max(ratios):.3g}."
    )
