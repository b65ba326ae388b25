"""Sharpness and norm against the learning rate for several widths, by parameterization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.analysis.groups import aliases
from orchestrator.report import drawing, markers
from orchestrator.report.drawing import TEXT, key
from orchestrator.report.labels import MOST_IN_LEGEND, in_one_line, shortened, title
from orchestrator.report.places import Place, Row, places_of, points
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Column, Tables, groups, values

MOST_FIGURES = 6
"""Groups of widths that are drawn: those with the most columns."""

_PANEL = (4.4, 2.7)
_WITHOUT_INDEPENDENCE = ("standard", "ntk", "mup")

_CAPTION = (
    "Final sharpness S and norm ‖θ‖₁, relative to that of the gradient flow, against the learning "
    "rate η, one colour for each width, one row of panels for each parameterization; lines of one "
    "colour are seeds. Dashed: the edge of stability 2/η. Vertical: η_c of each width, of several "
    "seeds the median. At the smallest ε that most columns reached. Under mup the curves should "
    f"fall together. {markers.CAPTION} {markers.FRAME_CAPTION}"
)


@dataclass(frozen=True)
class Overlay:
    """A row of panels: the places of a parameterization, by width, those of seeds together."""

    parameterization: str
    base_width: int | None
    places: dict[int, list[Place]]

    def descents(self, width: int) -> list[Row]:
        """All trials of GD at a width."""
        return [row for place in self.places.get(width, ()) for row in place.gd]


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
    """The rows of panels of a group, at the smallest ε that the most columns reached."""
    found = {
        column["column_id"]: {
            place.epsilon: place
            for place in places_of(tables.trials(column))
            if sum(row["sharpness"] is not None for row in place.included) > 1
        }
        for column in group
    }
    counts = Counter(epsilon for its_places in found.values() for epsilon in its_places)
    if not counts:
        return []
    epsilon = max(counts, key=lambda epsilon: (counts[epsilon], -epsilon))
    overlays = []
    for alike in sorted(_by_parameterization(group), key=_order):
        places: dict[int, list[Place]] = {}
        for column in alike:
            if column["width"] is not None and epsilon in found[column["column_id"]]:
                here = found[column["column_id"]][epsilon]
                places.setdefault(column["width"], []).append(here)
        if len(places) > 1:
            overlays.append(Overlay(alike[0]["parameterization"], alike[0]["base_width"], places))
    return overlays


def widths_figure(overlays: Sequence[Overlay], title: str) -> Figure:
    """Draw a row of panels for each overlay."""
    epsilon = next(iter(overlays[0].places.values()))[0].epsilon
    size = (2 * _PANEL[0], _PANEL[1] * len(overlays) + 1.2)
    figure = drawing.sheet(size, f"{title}, ε = {epsilon:g}", w_pad=0.08)
    grid = figure.subplots(len(overlays), 2, sharex=True, sharey="col", squeeze=False)
    all_widths = sorted({width for overlay in overlays for width in overlay.places})
    styles = dict(zip(all_widths, drawing.styles_of(all_widths), strict=True))
    for panels, overlay in zip(grid, overlays, strict=True):
        drawing.set_up_panel(panels[0], "final sharpness  $S$")
        drawing.set_up_panel(panels[1], r"$\Vert\theta\Vert_1$ / that of the flow")
        for width, places in overlay.places.items():
            for place in places:
                _draw(panels, place, {"markersize": 4, "linewidth": 0.9, **styles[width]})
        for axes in panels:
            axes.set_title(_name(overlay), fontsize=TEXT, parse_math=False)
            drawing.widen_span(axes)
    _lay_out(grid, [one for o in overlays for places in o.places.values() for one in places])
    every = [
        (styles[width]["color"], [row for one in overlays for row in one.descents(width)])
        for width in all_widths
    ]
    markers.leave_room(grid[0, 0], every)
    for overlay, panels in zip(overlays, grid, strict=True):
        _mark_rates(panels, overlay, styles)
    handles = [key(f"width {w}", **styles[w], markersize=4) for w in all_widths]
    handles.append(key(drawing.EDGE_NAME, **drawing.EDGE))
    handles.append(key(r"$\eta_c$", **drawing.CRITICAL))
    handles += markers.legend(row for _, rows in every for row in rows)
    drawing.legend_below(figure, handles, 4)
    return figure


def _order(alike: Sequence[Column]) -> int:
    """Those without width-independence first."""
    name = alike[0]["parameterization"]
    known = _WITHOUT_INDEPENDENCE
    return known.index(name) if name in known else len(known)


def _has_widths(group: Sequence[Column]) -> bool:
    return any(len(values(alike, "width")) > 1 for alike in _by_parameterization(group))


def _by_parameterization(group: Sequence[Column]) -> list[list[Column]]:
    """The columns of each parameterization; at the base width it is the standard one."""
    at_base_width = [column for _, column in aliases(group, "width")]
    return groups([*group, *at_base_width], {"width", "seed"})


def _draw(panels: Sequence[Axes], place: Place, style: dict[str, Any]) -> None:
    sharpness, norm = panels
    level = place.level("l1_norm")
    for rows, its in ((place.included, style), (place.excluded, {**style, **markers.HOLLOW})):
        if rows:
            sharpness.plot(*points(rows, "sharpness"), **its)
        if rows and level:
            eta, norms = points(rows, "l1_norm")
            norm.plot(eta, [value / level for value in norms], **its)


def _lay_out(grid: Any, places: Sequence[Place]) -> None:
    """Logarithmic η and S, and the edge of stability."""
    rates = [row["eta"] for place in places for row in place.gd]
    shown = [row for place in places for row in (*place.included, *place.excluded)]
    sharpnesses = [row["sharpness"] for row in shown if (row["sharpness"] or 0) > 0]
    low, high = min(rates) / 1.15, max(rates) * 1.15
    bottom, top = min(sharpnesses) / 1.3, max(sharpnesses) * 1.3
    drawing.set_log_axis(grid[0, 0], "x", low, high)
    drawing.set_log_axis(grid[0, 0], "y", bottom, top)
    for axes in grid[:, 0]:
        drawing.draw_edge(axes)
        drawing.set_log_ticks(axes.yaxis, bottom, top)
    for axes in grid[:, 1]:
        axes.set_xscale("log")
    for axes in grid.flat:
        drawing.set_log_ticks(axes.xaxis, low, high)
    for axes in grid[-1]:
        axes.set_xlabel(r"learning rate  $\eta$", fontsize=TEXT)


def _mark_rates(
    panels: Sequence[Axes], overlay: Overlay, styles: dict[int, dict[str, Any]]
) -> None:
    """η_c of each width, and along the frame the trials that did not reach ε."""
    ordered = sorted(overlay.places)
    by_width = [(styles[width]["color"], overlay.descents(width)) for width in ordered]
    for color, rows in by_width:
        rates = {row["column_id"]: row["eta_c"] for row in rows if row["eta_c"]}
        for axes in panels if rates else ():
            axes.axvline(median(rates.values()), zorder=1.2, **{**drawing.CRITICAL, "color": color})
    markers.frame_markers(panels[0], by_width)


def _name(overlay: Overlay) -> str:
    base = "" if overlay.base_width is None else f" (base width {overlay.base_width})"
    return shortened(overlay.parameterization, MOST_IN_LEGEND) + base


def _alternative(overlays: Sequence[Overlay]) -> str:
    said = []
    for overlay in overlays:
        first = [one.included[0] for places in overlay.places.values() for one in places]
        rates = [row["eta_c"] for row in first if row["eta_c"]]
        span = f", η_c from {min(rates):.3g} to {max(rates):.3g}" if rates else ""
        its_widths = ", ".join(map(str, sorted(overlay.places)))
        said.append(f"{_name(overlay)}: widths {its_widths}{span}")
    return f"Sharpness and relative norm against the learning rate. {'; '.join(said)}."
