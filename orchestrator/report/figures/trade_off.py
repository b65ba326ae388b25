"""Norm against sharpness of the solutions, and what it means for test loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from orchestrator.report.figures.drawing import ReportFigure
from orchestrator.report.labels import family_title, in_one_line
from orchestrator.report.markers import CAPTION, MARKERS, marker_legend
from orchestrator.report.places import Place, Row, places_of
from orchestrator.report.style import (
    COLOR_MAP,
    GREY,
    INK,
    SMALL,
    TEXT,
    set_log_ticks,
    set_up_panel,
    widen_span,
)
from orchestrator.report.tables import Tables

LEAST = 3
"""Solutions of a column that make a curve."""

_INCHES = (7.2, 6.6)
_LINE: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "zorder": 2}
_FLOW: dict[str, Any] = {
    "marker": "D",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 1.5,
    "linestyle": "none",
    "zorder": 4,
}
_MEASURES = {"l1_norm": r"norm  $\Vert\theta\Vert_1$", "test_loss": "test loss"}

_CAPTION = (
    "The solutions of all learning rates in the plane of sharpness S and norm ‖θ‖₁, and their test "
    "loss against S: the flatter a solution, the larger its norm. Colour: η/η_c. Diamond: the "
    "gradient flow. At the smallest ε that was reached; a thin line joins the solutions of each "
    f"seed in the order of η. {CAPTION} Runs that diverged or stopped short of ε have no solution "
    "there, and are counted in the legend."
)


def trade_off(tables: Tables) -> Iterator[ReportFigure]:
    """The trade-off in each family of columns that has figures of its own."""
    tables.read(column for family in tables.shown_families for column in family)
    for family in tables.shown_families:
        chosen = chosen_series([tables.trials(column) for column in family])
        if not chosen:
            continue
        heading = family_title(family)
        yield ReportFigure(
            f"trade-off-{family[0]['column_id']}",
            f"Norm against sharpness: {in_one_line(heading)}",
            _CAPTION,
            _alternative(chosen),
            trade_off_figure(chosen, heading),
        )


def chosen_series(columns: Sequence[Sequence[Row]]) -> list[Place]:
    """At the smallest ε at which any column has enough solutions, the series of those that do."""
    found: dict[float, list[Place]] = {}
    for rows in columns:
        for series in places_of(rows):
            if len(_solutions(series.settled, "l1_norm")) >= LEAST:
                found.setdefault(series.epsilon, []).append(series)
    return found[min(found)] if found else []


def trade_off_figure(chosen: Sequence[Place], title: str) -> Figure:
    """Draw the solutions at one threshold, a series for each seed."""
    figure = Figure(figsize=_INCHES, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    measured = [m for m in _MEASURES if any(_solutions(one.settled, m) for one in chosen)]
    panels: list[Axes] = list(figure.subplots(len(measured), 1, sharex=True, squeeze=False)[:, 0])
    ratios = [
        row["eta"] / row["eta_c"]
        for one in chosen
        for row in _solutions([*one.settled, *one.excluded], "l1_norm")
    ]
    low, high = min(ratios), max(ratios)
    colors = LogNorm(low, high if high > low else low * 1.01)
    for axes, measure in zip(panels, measured, strict=True):
        set_up_panel(axes, _MEASURES[measure])
        axes.margins(0.08, 0.1)
        for series in chosen:
            _draw(axes, series, measure, colors)
        widen_span(axes)
    panels[0].set_xscale("log")
    set_log_ticks(panels[0].xaxis, *panels[0].get_xlim())
    panels[-1].set_xlabel(
        rf"sharpness  $S$  at  $\varepsilon$ = {chosen[0].epsilon:g}", fontsize=TEXT
    )
    bar = figure.colorbar(ScalarMappable(colors, COLOR_MAP), ax=panels, pad=0.02, aspect=35)
    bar.set_label(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    if colors.vmin is not None and colors.vmax is not None:
        set_log_ticks(bar.ax.yaxis, colors.vmin, colors.vmax)
    figure.align_ylabels(panels)
    figure.suptitle(title, fontsize=TEXT, parse_math=False)
    several = "a seed" if len(chosen) > 1 else "gradient descent"
    handles = [
        Line2D([], [], marker="o", color=GREY, linewidth=0.7, label=rf"{several}, by $\eta$")
    ]
    if any(series.flow for series in chosen):
        handles.append(Line2D([], [], label="gradient flow", **_FLOW))
    rows = [row for series in chosen for row in series.gd]
    handles += marker_legend(rows, frame=False)
    if lost := _lost(rows):
        handles.append(Line2D([], [], linestyle="none", label=f"without a point: {lost}"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False
    )
    return figure


def _solutions(rows: Sequence[Row], measure: str) -> list[Row]:
    """Those of which all is known that says where they are drawn."""
    return [
        row
        for row in rows
        if row["eta_c"] and (row["sharpness"] or 0) > 0 and row[measure] is not None
    ]


def _lost(rows: Sequence[Row]) -> str:
    """How many runs did not reach ε, by what became of them."""
    counts = {
        mark.label: sum(row["fate"] == fate for row in rows)
        for fate, mark in MARKERS.items()
        if mark.style is not None
    }
    return ", ".join(f"{count} {label}" for label, count in counts.items() if count)


def _draw(axes: Axes, series: Place, measure: str, colors: LogNorm) -> None:
    settled, excluded = (_solutions(rows, measure) for rows in (series.settled, series.excluded))
    axes.plot([row["sharpness"] for row in settled], [row[measure] for row in settled], **_LINE)
    where: dict[str, Any] = {"s": 32, "zorder": 3}
    for rows in (settled, excluded):
        place = [row["sharpness"] for row in rows], [row[measure] for row in rows]
        ratios = [row["eta"] / row["eta_c"] for row in rows]
        if rows is settled:
            axes.scatter(*place, c=ratios, norm=colors, cmap=COLOR_MAP, linewidths=0, **where)
        elif rows:
            edge = [to_hex(colormaps[COLOR_MAP](colors(ratio))) for ratio in ratios]
            axes.scatter(*place, facecolors="white", edgecolors=edge, linewidths=1.3, **where)
    flow = series.flow
    if flow is not None and flow["sharpness"] and flow[measure] is not None:
        axes.plot(flow["sharpness"], flow[measure], **_FLOW)


def _alternative(chosen: Sequence[Place]) -> str:
    rows = [row for series in chosen for row in _solutions(series.settled, "l1_norm")]
    flat, sharp = (pick(rows, key=lambda row: row["sharpness"]) for pick in (min, max))
    return (
        f"Norm and test loss against sharpness for {len(rows)} solutions at "
        f"ε = {chosen[0].epsilon:g}. The flattest has sharpness {flat['sharpness']:.4g} and norm "
        f"{flat['l1_norm']:.5g}; the sharpest has {sharp['sharpness']:.4g} and "
        f"{sharp['l1_norm']:.5g}."
    )
