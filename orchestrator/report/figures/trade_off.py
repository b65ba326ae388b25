"""Norm against sharpness of the solutions, and what it means for test loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure

from orchestrator.report import drawing, markers
from orchestrator.report.drawing import COLOR_MAP, GREY, INK, SMALL, TEXT, key
from orchestrator.report.labels import family_title, in_one_line
from orchestrator.report.places import Place, Row, by_threshold
from orchestrator.report.report_figure import ReportFigure
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
    f"seed in the order of η. {markers.CAPTION} Trials that diverged or stopped short of ε have no "
    "solution there, and are counted in the legend."
)


def trade_off(tables: Tables) -> Iterator[ReportFigure]:
    """The trade-off in each family of columns that has figures of its own and enough solutions."""
    for family, rows in tables.family_trials():
        chosen = chosen_places(rows)
        if chosen:
            heading = family_title(family)
            yield ReportFigure(
                f"trade-off-{family[0]['column_id']}",
                f"Norm against sharpness: {in_one_line(heading)}",
                _CAPTION,
                _alternative(chosen),
                trade_off_figure(chosen, heading),
            )


def chosen_places(columns: Sequence[Sequence[Row]]) -> list[Place]:
    """The places with enough solutions at the smallest ε at which there are such."""
    enough = [
        [place for place in places if len(_solutions(place.included, "l1_norm")) >= LEAST]
        for places in by_threshold(columns).values()
    ]
    return next(filter(None, reversed(enough)), [])


def trade_off_figure(chosen: Sequence[Place], title: str) -> Figure:
    """Draw the solutions at one threshold, a line for each seed."""
    figure = drawing.sheet(_INCHES, title)
    measured = [m for m in _MEASURES if any(_solutions(one.included, m) for one in chosen)]
    panels: list[Axes] = list(figure.subplots(len(measured), 1, sharex=True, squeeze=False)[:, 0])
    colors = _colors(chosen)
    for axes, measure in zip(panels, measured, strict=True):
        drawing.set_up_panel(axes, _MEASURES[measure])
        axes.margins(0.08, 0.1)
        for place in chosen:
            _draw(axes, place, measure, colors)
        drawing.widen_span(axes)
    panels[0].set_xscale("log")
    drawing.set_log_ticks(panels[0].xaxis, *panels[0].get_xlim())
    at = drawing.threshold_name(chosen[0].epsilon)
    panels[-1].set_xlabel(f"sharpness  $S$  at  {at}", fontsize=TEXT)
    bar = figure.colorbar(ScalarMappable(colors, COLOR_MAP), ax=panels, pad=0.02, aspect=35)
    bar.set_label(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    if colors.vmin is not None and colors.vmax is not None:
        drawing.set_log_ticks(bar.ax.yaxis, colors.vmin, colors.vmax)
    figure.align_ylabels(panels)
    several = "a seed" if len(chosen) > 1 else "gradient descent"
    handles = [key(rf"{several}, by $\eta$", marker="o", color=GREY, linewidth=0.7)]
    if any(place.flow for place in chosen):
        handles.append(key("gradient flow", **_FLOW))
    rows = [row for place in chosen for row in place.gd]
    handles += markers.legend(rows, frame=False)
    if without := _without_point(rows):
        handles.append(key(f"without a point: {without}", linestyle="none"))
    drawing.legend_below(figure, handles, 2)
    return figure


def _colors(chosen: Sequence[Place]) -> LogNorm:
    """The scale of η/η_c over all solutions."""
    shown = [row for place in chosen for row in (*place.included, *place.excluded)]
    ratios = _ratios(_solutions(shown, "l1_norm"))
    low, high = min(ratios), max(ratios)
    return LogNorm(low, high if high > low else low * 1.01)


def _solutions(rows: Sequence[Row], measure: str) -> list[Row]:
    """Those of which all is known that says where they are drawn."""
    return [
        row
        for row in rows
        if row["eta_c"] and (row["sharpness"] or 0) > 0 and row[measure] is not None
    ]


def _without_point(rows: Sequence[Row]) -> str:
    """How many trials did not reach ε, by what became of them."""
    counts = {
        marker.label: sum(row["exclusion"] == exclusion for row in rows)
        for exclusion, marker in markers.MARKERS.items()
        if marker.style is not None
    }
    return ", ".join(f"{count} {label}" for label, count in counts.items() if count)


def _draw(axes: Axes, place: Place, measure: str, colors: LogNorm) -> None:
    included, excluded = (_solutions(rows, measure) for rows in (place.included, place.excluded))
    axes.plot(*_in_plane(included, measure), **_LINE)
    dots: dict[str, Any] = {"s": 32, "zorder": 3}
    colored: dict[str, Any] = {"norm": colors, "cmap": COLOR_MAP, "linewidths": 0, **dots}
    axes.scatter(*_in_plane(included, measure), c=_ratios(included), **colored)
    if excluded:
        edges = [to_hex(colormaps[COLOR_MAP](colors(ratio))) for ratio in _ratios(excluded)]
        hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": edges, "linewidths": 1.3}
        axes.scatter(*_in_plane(excluded, measure), **hollow | dots)
    flow = place.flow
    if flow is not None and flow["sharpness"] and flow[measure] is not None:
        axes.plot(flow["sharpness"], flow[measure], **_FLOW)


def _ratios(solutions: Sequence[Row]) -> list[float]:
    return [row["eta"] / row["eta_c"] for row in solutions]


def _in_plane(rows: Sequence[Row], measure: str) -> tuple[list[float], list[float]]:
    return [row["sharpness"] for row in rows], [row[measure] for row in rows]


def _alternative(chosen: Sequence[Place]) -> str:
    rows = [row for place in chosen for row in _solutions(place.included, "l1_norm")]
    flat, sharp = (pick(rows, key=lambda row: row["sharpness"]) for pick in (min, max))
    return (
        f"Norm and test loss against sharpness for {len(rows)} solutions at "
        f"ε = {chosen[0].epsilon:g}. The flattest has sharpness {flat['sharpness']:.4g} and norm "
        f"{flat['l1_norm']:.5g}; the sharpest has {sharp['sharpness']:.4g} and "
        f"{sharp['l1_norm']:.5g}."
    )
