"""The figure of the transition: sharpness, ℓ1 norm and test loss of a column against η."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jobs.spec import GD
from orchestrator.analysis import rows_by_column
from orchestrator.analysis.recommendation import Recommendation
from orchestrator.report import drawing, markers
from orchestrator.report.drawing import GREY, SMALL, TEXT, key
from orchestrator.report.labels import in_one_line, title
from orchestrator.report.places import (
    MEASURES,
    Place,
    Row,
    critical_rate,
    places_of,
    points,
    with_exclusions,
)
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Column, Tables

_INCHES = (7.2, 9.0)
_AROUND = 4.0
"""Without GD, the figure shows η from η_c over this to η_c times this."""

_MARGIN = 1.2
"""Around the sharpnesses, as a factor."""

_CAPTION = (
    "Final sharpness S, norm ‖θ‖₁ and test loss of gradient descent against the learning rate η, "
    "each trial stopped where its training loss first reached a threshold ε. Dashed: the edge of "
    "stability 2/η. Dotted levels: the gradient flow. Vertical line: η_c = 2/s_gf, where the flow "
    "predicts the transition; solid, with its 95 % interval in grey: where the sharpness of "
    f"gradient descent bends, fitted. {markers.CAPTION} {markers.FRAME_CAPTION} All trials of the "
    "column are shown."
)

_PREDICTED = " Wide and pale: what eos predict says, from the flow and a few rates."


def transition(tables: Tables) -> Iterator[ReportFigure]:
    """The transition of each column that has figures of its own."""
    tables.read(tables.shown)
    for column in tables.shown:
        yield transition_of(tables, column)


def transition_of(tables: Tables, column: Column) -> ReportFigure:
    """The transition of one column."""
    rows, recommended = tables.trials(column), tables.recommended_for(column)
    return ReportFigure(
        f"transition-{column['column_id']}",
        f"The phase transition: {in_one_line(title(column))}",
        _CAPTION + (_PREDICTED if recommended else ""),
        _alternative(rows),
        column_figure(rows, _fitted(tables, rows), recommended),
    )


def transition_figure(
    rows: Sequence[Row], phase: Row | None = None, recommended: Sequence[Recommendation] = ()
) -> Figure:
    """Draw the rows of ``trials`` of one column; they need the columns in ``places.READ``.

    Raises:
        ValueError: there are no rows, or they are of several columns.
    """
    return column_figure(rows_by_column(rows), phase, recommended)


def column_figure(
    rows: Sequence[Row], phase: Row | None = None, recommended: Sequence[Recommendation] = ()
) -> Figure:
    """Draw the rows of one column as :func:`orchestrator.analysis.by_column` has them.

    Panels from the top: final sharpness S with the curve 2/η, ‖θ‖₁, and test loss, all against η
    and, on the upper axis, η/η_c at the smallest ε. Colours and markers tell the thresholds apart;
    :mod:`orchestrator.report.markers` says how trials are drawn that do not count; level lines are
    the gradient flow. A solid line is the fitted η_c of ``phase``, a row of that table, with its
    bounds. Wide pale lines are what was ``recommended`` and predicted, behind all others.

    Raises:
        ValueError: there are no rows, or they are of several columns.
    """
    columns = {row["column_id"] for row in rows}
    if len(columns) != 1:
        raise ValueError(f"the rows are of {len(columns)} columns; they must be of one")
    figure = drawing.sheet(_INCHES, title(rows[0]), w_pad=0.12, h_pad=0.07)
    panels: list[Axes] = list(figure.subplots(3, 1, sharex=True, height_ratios=(1.7, 1, 1)))
    places = places_of(with_exclusions(rows))
    critical = critical_rate(rows)
    for number, place in enumerate(places):
        for axes, measure in zip(panels, MEASURES, strict=True):
            if (level := place.level(measure)) is not None:
                axes.axhline(level, color=drawing.cycle(number)["color"], **drawing.FLOW)
            markers.draw_gd(axes, place, measure, _name(place), **_points(number))
    _lay_out_rates(panels[0], places, critical)
    _lay_out_sharpness(panels[0], places, critical, _sharpness_name(rows))
    _lay_out(panels[1], places, "l1_norm", r"final norm  $\Vert\theta\Vert_1$")
    _lay_out(panels[2], places, "test_loss", "final test loss")
    drawing.draw_edge(panels[0])
    if critical is not None:
        drawing.draw_critical(panels, critical)
    if phase is not None:
        drawing.draw_kink(panels, phase)
    said = {one.epsilon: one for one in recommended}
    for number, place in enumerate(places):
        if (one := said.get(place.epsilon)) is not None:
            _draw_predicted(panels, one, drawing.cycle(number)["color"])
    last = next((one for one in reversed(recommended) if one.eta is not None), None)
    if last is not None:
        drawing.draw_recommended(panels, last)
    panels[-1].set_xlabel(r"learning rate  $\eta$", fontsize=TEXT)
    figure.align_ylabels(panels)
    drawing.legend_below(figure, _legend(places, critical, phase, last), 3)
    return figure


def _points(number: int) -> dict[str, Any]:
    """How GD at one threshold is drawn, in a panel and in the legend."""
    return {**drawing.cycle(number), "markersize": 5.5, "linewidth": 0.9}


def _lay_out_rates(
    axes: Axes, places: Sequence[Place], critical: tuple[float, float] | None
) -> None:
    """The common axis of η, and that of η/η_c where η_c is known."""
    rates = [row["eta"] for place in places for row in place.gd]
    eta_c = None if critical is None else critical[1]
    if not rates and eta_c is not None:
        rates = [eta_c / _AROUND, eta_c * _AROUND]
    low, high = (min(rates) / 1.12, max(rates) * 1.12) if rates else (0.1, 1.0)
    drawing.set_log_axis(axes, "x", low, high)
    axes.tick_params(labelbottom=False)
    if eta_c is None:
        return
    above = axes.secondary_xaxis("top", functions=_units_of(eta_c))
    drawing.set_log_ticks(above.xaxis, low / eta_c, high / eta_c, axes)
    above.set_xlabel(r"$\eta\,/\,\eta_c$", fontsize=TEXT)
    above.tick_params(labelsize=SMALL)


def _units_of(eta_c: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From η to η/η_c and back."""
    return lambda eta: eta / eta_c, lambda ratio: ratio * eta_c


def _sharpness_name(rows: Sequence[Row]) -> str:
    """What the upper panel shows: of other optimisers than GD, the S of GD with the same χ."""
    plain = all(row["optimizer"] == GD.name for row in rows)
    return "final sharpness  $S$" if plain else r"final  $2\chi\,/\,\eta$  ($S$ for GD)"


def _lay_out_sharpness(
    axes: Axes, places: Sequence[Place], critical: tuple[float, float] | None, name: str
) -> None:
    """A log axis for what was measured and the bend at η_c, with room for the frame's markers."""
    drawing.set_up_panel(axes, name)
    values = [value for value in _values(places, "sharpness") if value > 0]
    if critical is not None:
        values.append(2 / critical[1])
    if not values:
        values = [2 / eta for eta in axes.get_xlim()]
    axes.set_ylim(min(values) / _MARGIN, max(values) * _MARGIN)
    axes.set_yscale("log")
    trials = [(drawing.cycle(number)["color"], place.gd) for number, place in enumerate(places)]
    markers.leave_room(axes, trials)
    markers.frame_markers(axes, trials)
    drawing.set_log_ticks(axes.yaxis, *axes.get_ylim())


def _lay_out(axes: Axes, places: Sequence[Place], measure: str, label: str) -> None:
    """A linear axis, or a logarithmic one for values of several magnitudes."""
    drawing.set_up_panel(axes, label)
    axes.margins(y=0.1)
    values = _values(places, measure)
    if not values:
        axes.set_yticks([])
        middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "nothing was measured", fontsize=SMALL, color=GREY, **middle)
    elif drawing.spans_magnitudes(values):
        axes.set_yscale("log")
        drawing.set_log_ticks(axes.yaxis, *axes.get_ylim())
    drawing.widen_span(axes)


def _values(places: Sequence[Place], measure: str) -> list[float]:
    """Everything that the panel of a measure shows."""
    found: list[float] = []
    for place in places:
        level = place.level(measure)
        found += points([*place.included, *place.excluded], measure)[1]
        found += [] if level is None else [level]
    return found


def _draw_predicted(panels: Sequence[Axes], found: Recommendation, color: str) -> None:
    """The flow's values up to η_c, and from there those of the probes."""
    if found.flow is None or found.eta_c is None:
        return
    for axes, measure in zip(panels, MEASURES, strict=True):
        level = found.flow[measure]
        above = [row for row in found.stable if row["eta"] > found.eta_c]
        etas, values = points(above, measure)
        if level is not None:
            etas, values = [axes.get_xlim()[0], found.eta_c, *etas], [level, level, *values]
        style = {**drawing.PREDICTED, "color": color}
        axes.plot(etas, values, zorder=1.05, scalex=False, scaley=False, **style)


def _fitted(tables: Tables, rows: Sequence[Row]) -> Row | None:
    """The row of ``phase`` at the ε of a column's η_c, or at its smallest ε, with a fitted η_c."""
    critical = critical_rate(rows)
    epsilons = sorted({row["epsilon"] for row in rows}) if critical is None else [critical[0]]
    known = (tables.phases.get((rows[0]["column_id"], epsilon)) for epsilon in epsilons)
    return next((row for row in known if row and row["eta_c_fitted"] is not None), None)


def _name(place: Place) -> str:
    return drawing.threshold_name(place.epsilon)


def _legend(
    places: Sequence[Place],
    critical: tuple[float, float] | None,
    phase: Row | None,
    recommended: Recommendation | None,
) -> list[Artist]:
    """An entry for everything that the figure shows, and for nothing else."""
    entries: list[Artist] = [key(_name(one), **_points(n)) for n, one in enumerate(places)]
    if any(place.flow for place in places):
        entries.append(key("gradient flow", color=GREY, **drawing.FLOW))
    entries.append(key(drawing.EDGE_NAME, **drawing.EDGE))
    if critical is not None:
        optimizers = {row["optimizer"] for place in places for row in place.gd} or {GD.name}
        name = drawing.critical_name(critical, min(optimizers))
        entries.append(key(name, **drawing.CRITICAL))
    if phase is not None:
        entries.append(key(drawing.kink_name(phase), **drawing.FITTED))
    if phase is not None and drawing.fitted_interval(phase) is not None:
        entries.append(Patch(label="95 % interval of the fit", **drawing.BAND))
    if recommended is not None:
        entries.append(key("from eos predict", **{**drawing.PREDICTED, "color": GREY}))
        entries.append(key(drawing.recommended_name(recommended), **drawing.RECOMMENDED))
    return entries + markers.legend(row for place in places for row in place.gd)


def _alternative(rows: Sequence[Row]) -> str:
    rates = [row["eta"] for row in rows if row["kind"] == "gd" and row["eta"] is not None]
    critical = critical_rate(rows)
    span = f"η from {min(rates):.3g} to {max(rates):.3g}" if rates else "no gradient descent"
    kink = "" if critical is None else f"; η_c is {critical[1]:.3g} at ε = {critical[0]:g}"
    return (
        "Three panels against the learning rate: final sharpness with the curve 2/η, the norm "
        f"‖θ‖₁, and test loss, for {len({row['epsilon'] for row in rows})} loss thresholds and "
        f"{span}{kink}."
    )
