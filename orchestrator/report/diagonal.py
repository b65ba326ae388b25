"""The figure of a diagonal linear network: theory as lines, GD at thousands of rates as points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jobs.diagonal import OnePoint, PlaneSweep, l1_norm, l2_norm, risk, sweep_plane
from orchestrator.report.drawing import COLOR_MAP, GREY, INK, SMALL, TEXT, cycle, key, set_up_panel
from orchestrator.report.markers import HOLLOW
from orchestrator.report.report_figure import ReportFigure, save

DOTS_PER_INCH = 110

Flags = NDArray[np.bool_]

_INCHES = (10.0, 7.8)
_POINTS: dict[str, Any] = {"markersize": 4, "markeredgewidth": 0, "linestyle": "none"}
_THEORY: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 2.5)), "linewidth": 1.2, "zorder": 4}
_LEVEL: dict[str, Any] = {"color": GREY, "linestyle": (0, (1, 1.2)), "linewidth": 1.3}
_RATE: dict[str, Any] = {"color": GREY, "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.0}
_CHANCE: dict[str, Any] = {"marker": "o", "color": "#8c8c8c", **HOLLOW, "markeredgewidth": 0.7}
_ENDS: tuple[dict[str, Any], ...] = tuple(
    {"marker": marker, "markerfacecolor": INK, "markeredgecolor": "white"} for marker in "sD"
)
_TRUTH: dict[str, Any] = {"marker": "*", "color": cycle(3)["color"], "markersize": 15}
_EDGED: dict[str, Any] = {"color": INK, "markeredgecolor": "white", "linestyle": "none"}
_EDGED |= {"zorder": 6}
_NO_LINE: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0}
_SHORT: dict[str, Any] = {"marker": "|", "markersize": 6, "markeredgewidth": 0.8}
_SHORT |= {"color": cycle(4)["color"], "linestyle": "none"}
_DIVERGED = _SHORT | {"marker": "x", "markersize": 5, "color": cycle(1)["color"]}
_LEGEND: dict[str, Any] = {
    "fontsize": SMALL,
    "framealpha": 0.9,
    "edgecolor": "none",
    "handlelength": 1.7,
    "labelspacing": 0.35,
}

_SHARES = np.linspace(0.0, 1.0, 201)
"""Of the segment, where its largest norm is searched."""

_CAPTION = (
    "Where gradient descent ends on the solutions of zero loss, and the sharpness, the norms and "
    "the risk against the learning rate. Points: gradient descent. Lines: theory."
)


def draw_diagonal(folder: Path, sweep: PlaneSweep | None = None) -> list[Path]:
    """Draw a sweep as ``diagonal.png`` and ``diagonal.svg`` in a folder; say where.

    Both appear whole, and the same sweep gives the same files. ``sweep`` is that of
    ``docs/diagonal.md`` unless given.

    Raises:
        StoreError: the file system refused.
    """
    drawn = sweep or sweep_plane()
    figure = diagonal_figure(drawn)
    title = "The diagonal network on one point"
    described = ReportFigure("diagonal", title, _CAPTION, alternative(drawn), figure)
    return save(described, folder, dots_per_inch=DOTS_PER_INCH)


def diagonal_figure(
    sweep: PlaneSweep,
    counted: Flags | None = None,
    excluded: str = r"GD, chance crossing: $S > 2/\eta$",
) -> Figure:
    """Draw the solutions of zero loss with where GD ends on them, and S, norms and risk against η.

    Points are GD, dashed lines theory: where the flow ends below η_c, the solution with S = 2/η
    above it. Grey and hollow are trials that reached ε but are not ``counted``, of shape (trials,),
    which a legend calls ``excluded``: by default the chance crossings, where S is above 2/η.
    Vertical lines are η_c, η* = 2/S(β*) and η_max. Trials that did not reach ε are marked at the
    bottom of the sharpness.
    """
    stable = sweep.stable if counted is None else counted
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=_INCHES, layout=layout)
    (manifold, curvature), (norms, risks) = figure.subplots(2, 2)
    _draw_manifold(figure, manifold, sweep, stable)
    _draw_sharpness(curvature, sweep, stable, excluded)
    _draw_norms(norms, sweep, stable)
    _draw_risk(risks, sweep, stable)
    for axes in (curvature, norms, risks):
        _lay_out_rates(axes, sweep)
    figure.suptitle(_title(sweep), fontsize=TEXT)
    return figure


def alternative(sweep: PlaneSweep) -> str:
    """What the figure shows to a person who does not see it."""
    norm, sharpness = sweep.point.norm_minimizer(), sweep.point.sharpness_minimizer()
    return (
        f"Where {int(sweep.runs.reached().sum())} trials of gradient descent end on the segment of "
        f"zero loss, between the solution of least norm (sharpness {norm.sharpness:.4g}) and that "
        f"of least sharpness ({sharpness.sharpness:.4g}), and sharpness, norms and risk against "
        "the learning rate."
    )


def _draw_manifold(figure: Figure, axes: Axes, sweep: PlaneSweep, stable: Flags) -> None:
    """The segment of zero loss in the plane of β, with the ends of the flow and of GD."""
    point, runs = sweep.point, sweep.runs
    set_up_panel(axes, r"$\beta_2$")
    axes.set_xlabel(r"$\beta_1$", fontsize=TEXT)
    axes.plot(*point.vertices().T, color="#c8c8c8", linewidth=7, solid_capstyle="butt", zorder=1)
    path = sweep.flow.weights(np.linspace(0, sweep.flow.end(), 400)) ** 2
    axes.plot(*path.T, color=cycle(1)["color"], linewidth=1.6, zorder=2)
    scale = Normalize(float(runs.learning_rates.min()), float(runs.learning_rates.max()))
    ends = axes.scatter(
        runs.predictors[stable, 0],
        runs.predictors[stable, 1],
        c=runs.learning_rates[stable],
        cmap=COLOR_MAP,
        norm=scale,
        s=16,
        linewidths=0,
        zorder=3,
        rasterized=True,
    )
    bar = figure.colorbar(ends, ax=axes, pad=0.02, extend="neither")
    bar.set_label(r"learning rate  $\eta$", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    for minimizer, style in zip(_minimizers(point), _ENDS, strict=True):
        axes.plot(*minimizer.T, markersize=9, clip_on=False, **{**_EDGED, **style})
    axes.plot(*sweep.truth, **{**_EDGED, **_TRUTH})
    high = point.vertices().max(axis=0)
    axes.set_xlim(-0.02 * high[0], 1.12 * high[0])
    axes.set_ylim(-0.02 * high[1], 1.12 * high[1])
    axes.legend(
        handles=[
            key(r"zero loss: $x^\top\beta = y$", color="#c8c8c8", linewidth=7),
            key("gradient flow", color=cycle(1)["color"], linewidth=1.6),
            key("GD ends", marker="o", color="#21918c", markersize=5, **_NO_LINE),
            _minimizer_key(_ENDS[0], "least norm", point.norm_minimizer().sharpness),
            _minimizer_key(_ENDS[1], "least sharpness", point.sharpness_minimizer().sharpness),
            _minimizer_key(
                _TRUTH | {"markersize": 12}, r"truth $\beta^*$", point.sharpness(sweep.truth)
            ),
        ],
        **_LEGEND,
        loc="upper right",
    )


def _draw_sharpness(axes: Axes, sweep: PlaneSweep, stable: Flags, excluded: str) -> None:
    """S against η, the edge 2/η, and which trials did not reach ε."""
    point, runs = sweep.point, sweep.runs
    set_up_panel(axes, "final sharpness  $S$")
    eta = np.linspace(runs.learning_rates.min(), runs.learning_rates.max(), 600)
    low, high = (float(m.sharpness) for m in (point.sharpness_minimizer(), point.norm_minimizer()))
    bottom, top = low - 0.35 * (high - low), high + 0.25 * (high - low)
    edge = 2 / eta
    inside = (edge < top) & (edge > bottom)
    axes.plot(eta[inside], edge[inside], **_THEORY)
    axes.axhline(sweep.flow.max_sharpness(sweep.epsilon), **_LEVEL)
    _draw_points(axes, sweep, stable, runs.sharpness, cycle(0)["color"])
    across = axes.get_xaxis_transform()
    for status, style, height in (("max_steps", _SHORT, 0.03), ("diverged", _DIVERGED, 0.075)):
        where = runs.learning_rates[runs.status == status]
        axes.plot(where, np.full(len(where), height), transform=across, rasterized=True, **style)
    axes.set_ylim(bottom, top)
    any_excluded = bool(np.any(runs.reached() & ~stable))
    axes.legend(
        handles=[
            _dot(cycle(0)["color"], "GD"),
            *([key(excluded, markersize=5, **_CHANCE)] if any_excluded else []),
            key(r"edge of stability $2/\eta$", **_THEORY),
            key(r"$s_\mathrm{GF}$ of the flow", **_LEVEL),
            key(r"stopped short of $\varepsilon$", **_SHORT),
            key("diverged", **_DIVERGED),
        ],
        **_LEGEND,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.09),
    )


def _draw_norms(axes: Axes, sweep: PlaneSweep, stable: Flags) -> None:
    """Both norms of the weights against η, and where theory sees them."""
    runs = sweep.runs
    set_up_panel(axes, r"final norm  $\Vert w\Vert$")
    eta, beta = _theory(sweep)
    for values, norm, its in (
        (runs.l1_norm, l1_norm, cycle(1)),
        (runs.l2_norm, l2_norm, cycle(2)),
    ):
        _draw_points(axes, sweep, stable, values, its["color"])
        axes.plot(eta, norm(beta), **_THEORY)
    ends = sweep.predicted([runs.learning_rates.min(), sweep.point.largest_stable_rate])
    low, high = float(l2_norm(ends).min()), float(l1_norm(sweep.point.segment(_SHARES)).max())
    axes.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    axes.legend(
        handles=[
            _dot(cycle(1)["color"], r"GD, $\Vert w\Vert_1$"),
            _dot(cycle(2)["color"], r"GD, $\Vert w\Vert_2$"),
            key(r"flow, then $S = 2/\eta$", **_THEORY),
        ],
        **_LEGEND,
        loc="upper left",
    )


def _draw_risk(axes: Axes, sweep: PlaneSweep, stable: Flags) -> None:
    """R against η, where theory sees it, and the risks of both minimisers."""
    point, truth = sweep.point, sweep.truth
    set_up_panel(axes, r"risk  $R = \Vert\beta - \beta^*\Vert^2$")
    _draw_points(axes, sweep, stable, sweep.runs.risk(truth), cycle(0)["color"])
    eta, beta = _theory(sweep)
    axes.plot(eta, risk(beta, truth), **_THEORY)
    for minimizer, style in zip(_minimizers(point), _ENDS, strict=True):
        level = float(risk(minimizer, truth))
        axes.axhline(level, **_LEVEL)
        axes.plot(
            0.02,
            level,
            transform=axes.get_yaxis_transform(),
            markersize=7,
            **{**_EDGED, **style},
        )
    high = float(risk(point.vertices(), truth).max())
    axes.set_ylim(-0.04 * high, 1.15 * high)
    axes.legend(
        handles=[
            _dot(cycle(0)["color"], "GD"),
            key(r"flow, then $S = 2/\eta$", **_THEORY),
            key("least norm", **_LEVEL, **_ENDS[0]),
            key("least sharpness", **_LEVEL, **_ENDS[1]),
        ],
        **_LEGEND,
        loc="center left",
    )


def _draw_points(
    axes: Axes, sweep: PlaneSweep, stable: Flags, values: NDArray[np.float64], color: str
) -> None:
    """A value of each trial that reached ε, grey and hollow where it does not count."""
    eta = sweep.runs.learning_rates
    chance = sweep.runs.reached() & ~stable
    axes.plot(eta[chance], values[chance], **{**_POINTS, **_CHANCE}, rasterized=True)
    axes.plot(eta[stable], values[stable], **_POINTS, marker="o", color=color, rasterized=True)


def _lay_out_rates(axes: Axes, sweep: PlaneSweep) -> None:
    """The axis of η, with the three rates of theory named above the frame."""
    point, rates = sweep.point, sweep.runs.learning_rates
    axes.set_xlabel(r"learning rate  $\eta$", fontsize=TEXT)
    axes.set_xlim(rates.min() / 1.02, rates.max() * 1.01)
    for rate, name in (
        (sweep.critical_rate, r"$\eta_c$"),
        (point.rate_of(sweep.truth), r"$\eta^*$"),
        (point.largest_stable_rate, r"$\eta_\mathrm{max}$"),
    ):
        if rates.min() < rate < rates.max():
            axes.axvline(rate, **_RATE)
            axes.annotate(
                name,
                (rate, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=TEXT,
                annotation_clip=False,
            )


def _theory(sweep: PlaneSweep) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """η up to η_max, and the β that theory predicts."""
    last = min(sweep.point.largest_stable_rate, float(sweep.runs.learning_rates.max()))
    eta = np.linspace(sweep.runs.learning_rates.min(), last, 600)
    return eta, sweep.predicted(eta)


def _minimizers(point: OnePoint) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return point.norm_minimizer().predictor, point.sharpness_minimizer().predictor


def _minimizer_key(style: dict[str, Any], name: str, sharpness: Any) -> Line2D:
    """The key of a marker of the plane, with its sharpness."""
    label = f"{name}, $S = {float(sharpness):.4g}$"
    return key(label, **{**_EDGED, "markersize": 8, **style})


def _dot(color: str, label: str) -> Line2D:
    return key(label, marker="o", color=color, markersize=5, **_NO_LINE)


def _title(sweep: PlaneSweep) -> str:
    runs, x = sweep.runs, ", ".join(f"{value:g}" for value in sweep.point.x)
    start = ", ".join(f"{value:g}" for value in sweep.flow.start)
    truth = ", ".join(f"{value:g}" for value in sweep.truth)
    return (
        rf"$f(x) = \langle w\circ w,\, x\rangle$ on one point:  $x = ({x})$,  "
        rf"$\beta^* = ({truth})$,  $y = {sweep.point.y:g}$" + "\n"
        rf"GD at {len(runs.steps):,} learning rates from $w = ({start})$ until "
        rf"$L \leq {_power_of_ten(sweep.epsilon)}$"
    )


def _power_of_ten(value: float) -> str:
    """In the mathematics of a title: 10^{-12}, 2.5 · 10^{-3}."""
    digits, _, exponent = f"{value:.2e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    power = rf"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"
