"""Norm against sharpness of the solutions, and what it means for test loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from orchestrator.report.figures.drawn import Drawn, some
from orchestrator.report.look import GREY, INK, MAP, SMALL, TEXT, dress, tick_logarithmically, widen
from orchestrator.report.series import Row, Series, at_rest, series_by_epsilon
from orchestrator.report.tables import Tables
from orchestrator.report.words import family_title, in_one_line

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
    "seed in the order of η. Runs that diverged, stopped short of ε, or came to it by accident "
    "are left out."
)


@some(f"no column has {LEAST} solutions with η_c, sharpness and norm")
def trade_off(tables: Tables) -> Iterator[Drawn]:
    """The trade-off in each family of columns that has figures of its own.

    Raises:
        NothingToDrawError: none has enough solutions.
    """
    tables.read(column for family in tables.shown_families for column in family)
    for family in tables.shown_families:
        chosen = chosen_series([tables.trials(column) for column in family])
        if not chosen:
            continue
        heading = family_title(family)
        yield Drawn(
            f"trade-off-{family[0]['column_id']}",
            f"Norm against sharpness: {in_one_line(heading)}",
            _CAPTION,
            _alternative(chosen),
            trade_off_figure(chosen, heading),
        )


def chosen_series(columns: Sequence[Sequence[Row]]) -> list[Series]:
    """At the smallest ε at which any column has enough solutions, the series of those that do."""
    found: dict[float, list[Series]] = {}
    for rows in columns:
        for series in series_by_epsilon(rows):
            if len(_solutions(series, "l1_norm")) >= LEAST:
                found.setdefault(series.epsilon, []).append(series)
    return found[min(found)] if found else []


def trade_off_figure(chosen: Sequence[Series], title: str) -> Figure:
    """Draw the solutions at one threshold, a series for each seed."""
    figure = Figure(figsize=_INCHES, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    measured = [m for m in _MEASURES if any(_solutions(series, m) for series in chosen)]
    panels: list[Axes] = list(figure.subplots(len(measured), 1, sharex=True, squeeze=False)[:, 0])
    ratios = [row["eta"] / row["eta_c"] for one in chosen for row in _solutions(one, "l1_norm")]
    low, high = min(ratios), max(ratios)
    colors = LogNorm(low, high if high > low else low * 1.01)
    for axes, measure in zip(panels, measured, strict=True):
        dress(axes, _MEASURES[measure])
        axes.margins(0.08, 0.1)
        for series in chosen:
            _draw(axes, series, measure, colors)
        widen(axes)
    panels[0].set_xscale("log")
    tick_logarithmically(panels[0].xaxis, *panels[0].get_xlim())
    panels[-1].set_xlabel(
        rf"sharpness  $S$  at  $\varepsilon$ = {chosen[0].epsilon:g}", fontsize=TEXT
    )
    bar = figure.colorbar(ScalarMappable(colors, MAP), ax=panels, pad=0.02, aspect=35)
    bar.set_label(r"learning rate  $\eta\,/\,\eta_c$", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    if colors.vmin is not None and colors.vmax is not None:
        tick_logarithmically(bar.ax.yaxis, colors.vmin, colors.vmax)
    figure.align_ylabels(panels)
    figure.suptitle(title, fontsize=TEXT, parse_math=False)
    handles = [Line2D([], [], marker="o", color=GREY, linewidth=0.7, label="gradient descent")]
    if any(series.flow for series in chosen):
        handles.append(Line2D([], [], label="gradient flow", **_FLOW))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False
    )
    return figure


def _solutions(series: Series, measure: str) -> list[Row]:
    return [row for row in at_rest(series) if row["eta_c"] and row[measure] is not None]


def _draw(axes: Axes, series: Series, measure: str, colors: LogNorm) -> None:
    rows = _solutions(series, measure)
    sharpness, values = [row["sharpness"] for row in rows], [row[measure] for row in rows]
    axes.plot(sharpness, values, **_LINE)
    ratios = [row["eta"] / row["eta_c"] for row in rows]
    axes.scatter(sharpness, values, c=ratios, norm=colors, cmap=MAP, s=32, linewidths=0, zorder=3)
    flow = series.flow
    if flow is not None and flow["sharpness"] and flow[measure] is not None:
        axes.plot(flow["sharpness"], flow[measure], **_FLOW)


def _alternative(chosen: Sequence[Series]) -> str:
    rows = [row for series in chosen for row in _solutions(series, "l1_norm")]
    flat, sharp = (pick(rows, key=lambda row: row["sharpness"]) for pick in (min, max))
    return (
        f"Norm and test loss against sharpness for {len(rows)} solutions at "
        f"ε = {chosen[0].epsilon:g}. The flattest has sharpness {flat['sharpness']:.4g} and norm "
        f"{flat['l1_norm']:.5g}; the sharpest has {sharp['sharpness']:.4g} and "
        f"{sharp['l1_norm']:.5g}."
    )
