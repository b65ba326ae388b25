"""Sharpness and norm against the learning rate for several widths, by parameterization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from orchestrator.analysis.groups import aliases
from orchestrator.report.figures.drawing import CRITICAL, EDGE, EDGE_NAME, ReportFigure, draw_edge
from orchestrator.report.groups import groups, values
from orchestrator.report.labels import MOST_IN_LEGEND, in_one_line, shortened, title
from orchestrator.report.markers import (
    CAPTION,
    FRAME_CAPTION,
    HOLLOW,
    frame_markers,
    leave_room,
    marker_legend,
)
from orchestrator.report.places import Place, Row, places_of, points
from orchestrator.report.style import (
    SMALL,
    TEXT,
    cycle,
    ordered_colors,
    set_log_ticks,
    set_up_panel,
    widen_span,
)
from orchestrator.report.tables import Column, Tables

MOST_FIGURES = 6
"""Groups of widths that are drawn: those with the most columns."""

_PANEL = (4.4, 2.7)

_CAPTION = (
    "Final sharpness S and norm ‖θ‖₁, relative to that of the gradient flow, against the learning "
    "rate η, one colour for each width, one row of panels for each parameterization; lines of one "
    "colour are seeds. Dashed: the edge of stability 2/η. Vertical: η_c of each width, of several "
    "seeds the median. At the smallest ε that most columns reached. Under mup the curves should "
    f"fall together. {CAPTION} {FRAME_CAPTION}"
)


@dataclass(frozen=True)
class Overlay:
    """The columns of one panel row: a parameterization, and the series of each width."""

    parameterization: str
    base_width: int | None
    series: tuple[tuple[int, Place], ...]


def widths(tables: Tables) -> Iterator[ReportFigure]:
    """A figure of each group of columns that differ in width, parameterization and seed alone."""
    free = {"width", "parameterization", "base_width", "seed"}
    several = [one for one in groups(tables.columns, free) if _has_widths(one)]
    chosen = sorted(several, key=len, reverse=True)[:MOST_FIGURES]
    tables.read(column for group in chosen for column in group)
    for group in chosen:
        overlays = chosen_overlays(tables, group)
        if not overlays:
            continue
        first_line = title({**group[0], "width": "width"}).splitlines()[0]
        heading = f"{first_line}, init scale {shortened(group[0]['init_scale'])}"
        yield ReportFigure(
            f"widths-{group[0]['column_id']}",
            f"Widths: {in_one_line(heading)}",
            _CAPTION,
            _alternative(overlays),
            widths_figure(overlays, heading),
        )


def chosen_overlays(tables: Tables, group: Sequence[Column]) -> list[Overlay]:
    """The panel rows of a group, at the smallest threshold that the most columns reached."""
    found = {
        column["column_id"]: {
            series.epsilon: series
            for series in places_of(tables.trials(column))
            if len(_solutions(series)) > 1
        }
        for column in group
    }
    counts: dict[float, int] = {}
    for its_series in found.values():
        for epsilon in its_series:
            counts[epsilon] = counts.get(epsilon, 0) + 1
    if not counts:
        return []
    epsilon = max(counts, key=lambda epsilon: (counts[epsilon], -epsilon))
    overlays = []
    for alike in sorted(_by_parameterization(group), key=_order):
        series = tuple(
            (column["width"], found[column["column_id"]][epsilon])
            for column in alike
            if column["width"] is not None and epsilon in found[column["column_id"]]
        )
        if len({width for width, _ in series}) > 1:
            overlays.append(Overlay(alike[0]["parameterization"], alike[0]["base_width"], series))
    return overlays


def widths_figure(overlays: Sequence[Overlay], title: str) -> Figure:
    """Draw a row of panels for each overlay."""
    figure = Figure(
        figsize=(2 * _PANEL[0], _PANEL[1] * len(overlays) + 1.2),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    grid = figure.subplots(len(overlays), 2, sharex=True, sharey="col", squeeze=False)
    all_widths = sorted({width for overlay in overlays for width, _ in overlay.series})
    colors = dict(zip(all_widths, ordered_colors(len(all_widths)), strict=True))
    markers = {width: cycle(number)["marker"] for number, width in enumerate(all_widths)}
    for (sharpness, norm), overlay in zip(grid, overlays, strict=True):
        set_up_panel(sharpness, "final sharpness  $S$")
        set_up_panel(norm, r"$\Vert\theta\Vert_1$ / that of the flow")
        for width, series in overlay.series:
            style: dict[str, Any] = {"color": colors[width], "marker": markers[width]}
            _draw(sharpness, norm, series, style)
        for axes in (sharpness, norm):
            axes.set_title(_name(overlay), fontsize=TEXT, parse_math=False)
            widen_span(axes)
    _lay_out(grid, overlays)
    leave_room(grid[0, 0], _by_width([one for o in overlays for one in o.series], colors))
    for overlay, panels in zip(overlays, grid, strict=True):
        _mark(panels, overlay, colors)
    epsilon = overlays[0].series[0][1].epsilon
    figure.suptitle(f"{title}, ε = {epsilon:g}", fontsize=TEXT, parse_math=False)
    handles = [
        Line2D([], [], color=colors[w], marker=markers[w], markersize=4, label=f"width {w}")
        for w in all_widths
    ]
    handles.append(Line2D([], [], label=EDGE_NAME, **EDGE))
    handles.append(Line2D([], [], label=r"$\eta_c$", **CRITICAL))
    handles += marker_legend(row for o in overlays for _, one in o.series for row in one.gd)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, fontsize=SMALL, frameon=False
    )
    return figure


def _order(alike: Sequence[Column]) -> int:
    """Those without width-independence first."""
    known = ("standard", "ntk", "mup")
    name = alike[0]["parameterization"]
    return known.index(name) if name in known else len(known)


def _has_widths(group: Sequence[Column]) -> bool:
    return any(len(values(alike, "width")) > 1 for alike in _by_parameterization(group))


def _by_parameterization(group: Sequence[Column]) -> list[list[Column]]:
    """The columns of each parameterization; at the base width it is the standard one."""
    at_base_width = [column for _, column in aliases(group, "width")]
    return groups([*group, *at_base_width], {"width", "seed"})


def _solutions(series: Place) -> list[Row]:
    """The runs that count."""
    return [row for row in series.settled if row["sharpness"] is not None]


def _draw(sharpness: Axes, norm: Axes, series: Place, style: dict[str, Any]) -> None:
    level = series.level("l1_norm")
    line: dict[str, Any] = {"markersize": 4, "linewidth": 0.9, **style}
    for rows, its in ((series.settled, line), (series.excluded, {**line, **HOLLOW})):
        if rows:
            sharpness.plot(*points(rows, "sharpness"), **its)
        if rows and level:
            eta, norms = points(rows, "l1_norm")
            norm.plot(eta, [value / level for value in norms], **its)


def _lay_out(grid: Any, overlays: Sequence[Overlay]) -> None:
    """Logarithmic η and S, and the edge of stability."""
    every = [series for overlay in overlays for _, series in overlay.series]
    rates = [rate for series in every for rate in series.rates()]
    shown = [row for series in every for row in (*series.settled, *series.excluded)]
    sharpnesses = [row["sharpness"] for row in shown if (row["sharpness"] or 0) > 0]
    low, high = min(rates) / 1.15, max(rates) * 1.15
    bottom, top = min(sharpnesses) / 1.3, max(sharpnesses) * 1.3
    first: Axes = grid[0, 0]
    first.set_xscale("log")
    first.set_yscale("log")
    first.set_xlim(low, high)
    first.set_ylim(bottom, top)
    for axes in grid[:, 0]:
        draw_edge(axes)
        set_log_ticks(axes.yaxis, bottom, top)
    for axes in grid[:, 1]:
        axes.set_xscale("log")
        set_log_ticks(axes.xaxis, low, high)
    for axes in grid[:, 0]:
        set_log_ticks(axes.xaxis, low, high)
    for axes in grid[-1]:
        axes.set_xlabel(r"learning rate  $\eta$", fontsize=TEXT)


def _mark(panels: Sequence[Axes], overlay: Overlay, colors: dict[int, str]) -> None:
    """η_c of each width, and along the frame the runs that did not reach ε."""
    groups = _by_width(overlay.series, colors)
    for color, rows in groups:
        rates = {row["column_id"]: row["eta_c"] for row in rows if row["eta_c"]}
        for axes in panels if rates else ():
            axes.axvline(median(rates.values()), zorder=1.2, **{**CRITICAL, "color": color})
    frame_markers(panels[0], groups)


def _by_width(
    series: Sequence[tuple[int, Place]], colors: dict[int, str]
) -> list[tuple[str, list[Row]]]:
    """The runs of each width, with its colour."""
    found: dict[int, list[Row]] = {}
    for width, one in series:
        found.setdefault(width, []).extend(one.gd)
    return [(colors[width], found[width]) for width in sorted(found)]


def _name(overlay: Overlay) -> str:
    base = "" if overlay.base_width is None else f" (base width {overlay.base_width})"
    return shortened(overlay.parameterization, MOST_IN_LEGEND) + base


def _alternative(overlays: Sequence[Overlay]) -> str:
    said = []
    for overlay in overlays:
        rates = [s.settled[0]["eta_c"] for _, s in overlay.series if s.settled[0]["eta_c"]]
        span = f", η_c from {min(rates):.3g} to {max(rates):.3g}" if rates else ""
        its_widths = ", ".join(str(width) for width in sorted({w for w, _ in overlay.series}))
        said.append(f"{_name(overlay)}: widths {its_widths}{span}")
    return f"Sharpness and relative norm against the learning rate. {'; '.join(said)}."
