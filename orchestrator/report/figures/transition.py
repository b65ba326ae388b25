"""The figure of the transition: sharpness, ℓ1 norm and test loss of a column against η."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from orchestrator.report.figures.drawing import (
    BAND,
    CRITICAL,
    EDGE,
    EDGE_NAME,
    FITTED,
    FLOW,
    ReportFigure,
    critical_name,
    draw_critical,
    draw_edge,
    draw_kink,
    has_interval,
    kink_name,
)
from orchestrator.report.labels import in_one_line, title
from orchestrator.report.markers import (
    CAPTION,
    FRAME_CAPTION,
    HOLLOW,
    frame_markers,
    leave_room,
    marker_legend,
)
from orchestrator.report.places import (
    MEASURES,
    Place,
    Row,
    critical_rate,
    places_of,
    points,
    with_fates,
)
from orchestrator.report.style import (
    GREY,
    SMALL,
    TEXT,
    cycle,
    set_log_ticks,
    set_up_panel,
    widen_span,
)
from orchestrator.report.tables import Column, Tables

_INCHES = (7.2, 9.0)
_AROUND = 4.0
"""Without GD, the figure shows η from η_c over this to η_c times this."""

_MARGIN = 1.2
"""Around the sharpnesses, as a factor."""

_MAGNITUDES = 10.0
"""Largest over smallest value from which an axis is logarithmic."""

_CAPTION = (
    "Final sharpness S, norm ‖θ‖₁ and test loss of gradient descent against the learning rate η, "
    "each run stopped where its training loss first reached a threshold ε. Dashed: the edge of "
    "stability 2/η. Dotted levels: the gradient flow. Vertical line: η_c = 2/s_gf, where the flow "
    "predicts the transition; solid, with its 95 % interval in grey: where the sharpness of "
    f"gradient descent bends, fitted. {CAPTION} {FRAME_CAPTION} All runs of the column are shown."
)


def transition(tables: Tables) -> Iterator[ReportFigure]:
    """The transition of each column that has figures of its own."""
    tables.read(tables.shown)
    for column in tables.shown:
        yield transition_of(tables, column)


def transition_of(tables: Tables, column: Column) -> ReportFigure:
    """The transition of one column."""
    rows = tables.trials(column)
    return ReportFigure(
        f"transition-{column['column_id']}",
        f"The phase transition: {in_one_line(title(column))}",
        _CAPTION,
        _alternative(rows),
        transition_figure(rows, _fitted(tables, rows)),
    )


def transition_figure(rows: Sequence[Row], phase: Row | None = None) -> Figure:
    """Draw the rows of ``trials`` of one column; they need the columns in ``series.READ``.

    Panels from the top: final sharpness S with the curve 2/η, ‖θ‖₁, and test loss, all against η
    and, on the upper axis, η/η_c at the smallest ε. Colours and markers tell the thresholds apart;
    :mod:`orchestrator.report.markers` says how runs are drawn that do not count; level lines
    are the gradient flow. A solid line is the fitted η_c of ``phase``, a row of that
    table, with its bounds.

    Raises:
        ValueError: there are no rows, or they are of several columns.
    """
    columns = {row["column_id"] for row in rows}
    if len(columns) != 1:
        raise ValueError(f"the rows are of {len(columns)} columns; they must be of one")
    figure = Figure(figsize=_INCHES, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.07))
    panels: list[Axes] = list(figure.subplots(3, 1, sharex=True, height_ratios=(1.7, 1, 1)))
    series = places_of(with_fates(rows))
    critical = critical_rate(rows)
    for number, one in enumerate(series):
        for axes, measure in zip(panels, MEASURES, strict=True):
            _draw(axes, one, measure, cycle(number))
    _lay_out_rates(panels[0], series, critical)
    _lay_out_sharpness(panels[0], series, critical)
    runs = [(cycle(number)["color"], one.gd) for number, one in enumerate(series)]
    leave_room(panels[0], runs)
    frame_markers(panels[0], runs)
    set_log_ticks(panels[0].yaxis, *panels[0].get_ylim())
    _lay_out(panels[1], series, "l1_norm", r"final norm  $\Vert\theta\Vert_1$")
    _lay_out(panels[2], series, "test_loss", "final test loss")
    draw_edge(panels[0])
    if critical is not None:
        draw_critical(panels, critical)
    if phase is not None:
        draw_kink(panels, phase)
    panels[-1].set_xlabel(r"learning rate  $\eta$", fontsize=TEXT)
    figure.align_ylabels(panels)
    figure.suptitle(title(rows[0]), fontsize=TEXT, parse_math=False)
    figure.legend(
        handles=_legend(series, critical, phase),
        loc="outside lower center",
        ncols=3,
        fontsize=SMALL,
        frameon=False,
    )
    return figure


def _draw(axes: Axes, series: Place, measure: str, its: dict[str, Any]) -> None:
    """One measure at one threshold: GD as markers on a thin line, the flow as a level line."""
    level = series.level(measure)
    if level is not None:
        axes.axhline(level, color=its["color"], **FLOW)
    axes.plot(*points(series.settled, measure), label=_name(series), **_points(its))
    axes.plot(*points(series.excluded, measure), **{**_points(its), **HOLLOW})


def _points(its: dict[str, Any]) -> dict[str, Any]:
    """How GD at one threshold is drawn, in a panel and in the legend."""
    return {**its, "markersize": 5.5, "linewidth": 0.9}


def _lay_out_rates(
    axes: Axes, series: Sequence[Place], critical: tuple[float, float] | None
) -> None:
    """The common axis of η, and that of η/η_c where η_c is known."""
    rates = [rate for one in series for rate in one.rates()]
    eta_c = None if critical is None else critical[1]
    if not rates and eta_c is not None:
        rates = [eta_c / _AROUND, eta_c * _AROUND]
    low, high = (min(rates) / 1.12, max(rates) * 1.12) if rates else (0.1, 1.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    set_log_ticks(axes.xaxis, low, high)
    axes.tick_params(labelbottom=False)
    if eta_c is None:
        return
    above = axes.secondary_xaxis("top", functions=_units_of(eta_c))
    set_log_ticks(above.xaxis, low / eta_c, high / eta_c, axes)
    above.set_xlabel(r"$\eta\,/\,\eta_c$", fontsize=TEXT)
    above.tick_params(labelsize=SMALL)


def _units_of(eta_c: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From η to η/η_c and back."""

    def ratio(eta: Any) -> Any:
        return eta / eta_c

    def rate(ratio: Any) -> Any:
        return ratio * eta_c

    return ratio, rate


def _lay_out_sharpness(
    axes: Axes, series: Sequence[Place], critical: tuple[float, float] | None
) -> None:
    """A log axis for what was measured and the bend at η_c."""
    set_up_panel(axes, "final sharpness  $S$")
    values = [value for one in series for value in _values(one, "sharpness") if value > 0]
    if critical is not None:
        values.append(2 / critical[1])
    if not values:
        values = [2 / eta for eta in axes.get_xlim()]
    axes.set_ylim(min(values) / _MARGIN, max(values) * _MARGIN)
    axes.set_yscale("log")


def _lay_out(axes: Axes, series: Sequence[Place], measure: str, label: str) -> None:
    """A linear axis, or a logarithmic one for values of several magnitudes."""
    set_up_panel(axes, label)
    axes.margins(y=0.1)
    values = [value for one in series for value in _values(one, measure)]
    if not values:
        axes.set_yticks([])
        middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "nothing was measured", fontsize=SMALL, color=GREY, **middle)
    elif 0 < _MAGNITUDES * min(values) < max(values):
        axes.set_yscale("log")
        set_log_ticks(axes.yaxis, *axes.get_ylim())
    widen_span(axes)


def _values(series: Place, measure: str) -> list[float]:
    level = series.level(measure)
    shown = points([*series.settled, *series.excluded], measure)[1]
    return [*shown, *([] if level is None else [level])]


def _fitted(tables: Tables, rows: Sequence[Row]) -> Row | None:
    """The row of ``phase`` at the ε of a column's η_c, or at its smallest ε, with a fitted η_c."""
    critical = critical_rate(rows)
    epsilons = sorted({row["epsilon"] for row in rows}) if critical is None else [critical[0]]
    known = (tables.phases.get((rows[0]["column_id"], epsilon)) for epsilon in epsilons)
    return next((row for row in known if row and row["eta_c_fitted"] is not None), None)


def _name(series: Place) -> str:
    return rf"$\varepsilon$ = {series.epsilon:g}"


def _legend(
    series: Sequence[Place], critical: tuple[float, float] | None, phase: Row | None
) -> list[Artist]:
    """An entry for everything that the figure shows, and for nothing else."""
    entries: list[Artist] = [
        Line2D([], [], label=_name(one), **_points(cycle(number)))
        for number, one in enumerate(series)
    ]
    if any(one.flow for one in series):
        entries.append(Line2D([], [], color=GREY, label="gradient flow", **FLOW))
    entries.append(Line2D([], [], label=EDGE_NAME, **EDGE))
    if critical is not None:
        entries.append(Line2D([], [], label=critical_name(critical), **CRITICAL))
    if phase is not None:
        entries.append(Line2D([], [], label=kink_name(phase), **FITTED))
    if phase is not None and has_interval(phase):
        entries.append(Patch(label="95 % interval of the fit", **BAND))
    entries += marker_legend(row for one in series for row in one.gd)
    return entries


def _alternative(rows: Sequence[Row]) -> str:
    gd = [row for row in rows if row["kind"] == "gd"]
    rates = [row["eta"] for row in gd if row["eta"] is not None]
    critical = critical_rate(rows)
    span = f"η from {min(rates):.3g} to {max(rates):.3g}" if rates else "no gradient descent"
    kink = "" if critical is None else f"; η_c is {critical[1]:.3g} at ε = {critical[0]:g}"
    return (
        "Three panels against the learning rate: final sharpness with the curve 2/η, the norm "
        f"‖θ‖₁, and test loss, for {len({row['epsilon'] for row in rows})} loss thresholds and "
        f"{span}{kink}."
    )
