"""What every figure is drawn with: its sheet and legend, colours that everyone can tell apart, axes
with ticks, and what theory says along η.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    ScalarFormatter,
)

from jobs.spec import GD
from orchestrator.analysis.recommendation import Recommendation
from orchestrator.report.places import Row

TEXT, SMALL = 11.0, 9.5
"""Sizes in points."""

INK, GREY, FAINT = "black", "#4d4d4d", "#e3e3e3"

COLOR_MAP = "viridis"
"""Of numbers with an order; its lightness rises evenly."""

_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^DvP<"

_NARROW = 0.35
"""Decades below which a log axis hardly differs from a linear one."""
_LEAST_SPAN = 1e-3
_MAGNITUDES = 10.0
_WIDE = 9
"""Decades from which not each has a label."""
_SUBS = (
    (0.8, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (1.4, (1, 1.5, 2, 3, 4, 5, 7)),
    (1.4, (1, 2, 3, 5)),
    (2.5, (1, 2, 5)),
    (2.5, (1, 3)),
)
"""The numbers of a decade that have labels, up to each number of decades."""
_WIDTH, _HEIGHT = 0.6, 1.3
"""Of a character and of a line, in units of the size of the text."""

EDGE: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 2.5)), "linewidth": 1.3}
CRITICAL: dict[str, Any] = {"color": INK, "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.2}
FITTED: dict[str, Any] = {"color": GREY, "linestyle": "solid", "linewidth": 1.0}
BAND: dict[str, Any] = {"color": GREY, "alpha": 0.15, "linewidth": 0}
RECOMMENDED: dict[str, Any] = {"color": "#E69F00", "alpha": 0.45, "linewidth": 6.0}
PREDICTED: dict[str, Any] = {"alpha": 0.25, "linewidth": 6.0, "solid_capstyle": "round"}
FLOW: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 1.5}
"""The looks of lines, the same in every figure; those of the flow and of what was predicted have
the colour of their place."""

EDGE_NAME = r"edge of stability $2/\eta$"


def sheet(size: tuple[float, float], title: str, w_pad: float = 0.1, h_pad: float = 0.08) -> Figure:
    """An empty figure of a size in inches under its title, which is plain text."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=w_pad, h_pad=h_pad))
    figure.suptitle(title, fontsize=TEXT, parse_math=False)
    return figure


def key(label: str, **style: Any) -> Line2D:
    """The entry of a legend."""
    return Line2D([], [], label=label, **style)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """The legend of all panels."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False
    )


def threshold_name(epsilon: float) -> str:
    """A threshold in a legend."""
    return rf"$\varepsilon$ = {epsilon:g}"


def draw_edge(axes: Axes) -> None:
    """The curve 2/η over the whole axis of η, which must have its limits."""
    eta = np.geomspace(*axes.get_xlim(), 200)
    axes.plot(eta, 2 / eta, scaley=False, label=EDGE_NAME, zorder=1.5, **EDGE)


def draw_critical(panels: Sequence[Axes], critical: tuple[float, float]) -> None:
    """The η_c at which the flow says that the edge begins to matter: (ε, η_c)."""
    for axes in panels:
        axes.axvline(critical[1], zorder=1.2, label=critical_name(critical), **CRITICAL)


def draw_recommended(panels: Sequence[Axes], found: Recommendation) -> None:
    """The rate that probes speak for, behind everything else."""
    assert found.eta is not None
    for axes in panels:
        axes.axvline(found.eta, zorder=1.0, label=recommended_name(found), **RECOMMENDED)


def recommended_name(found: Recommendation) -> str:
    """The recommended rate in a legend."""
    return rf"recommended $\eta$ = {found.eta:.3g} ({threshold_name(found.epsilon)})"


def draw_kink(panels: Sequence[Axes], phase: Row) -> None:
    """The η_c at which the sharpness of GD bends, and how well it is known."""
    for axes in panels:
        axes.axvline(phase["eta_c_fitted"], zorder=1.2, label=kink_name(phase), **FITTED)
        if (interval := fitted_interval(phase)) is not None:
            axes.axvspan(*interval, zorder=1.1, **BAND)


def fitted_interval(phase: Row) -> tuple[float, float] | None:
    """The bounds of the fitted η_c, None where they are not known."""
    low, high = phase["eta_c_fitted_low"], phase["eta_c_fitted_high"]
    return None if low is None or high is None else (low, high)


def critical_name(critical: tuple[float, float], optimizer: str = GD.name) -> str:
    """The predicted η_c in a legend; its formula for GD."""
    epsilon, eta_c = critical
    formula = r"$\eta_c = 2/s_{\mathrm{gf}}$" if optimizer == GD.name else r"$\eta_c$"
    return rf"{formula} = {eta_c:.3g} ({threshold_name(epsilon)})"


def kink_name(phase: Row) -> str:
    """The fitted η_c in a legend."""
    return rf"$\eta_c$ fitted = {phase['eta_c_fitted']:.3g} ({threshold_name(phase['epsilon'])})"


def cycle(number: int) -> dict[str, Any]:
    """The colour and the marker of the series with this number; the pair repeats after 42."""
    return {
        "color": _OKABE_ITO[number % len(_OKABE_ITO)],
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def set_up_panel(axes: Axes, label: str) -> None:
    """Name the vertical axis, and give the panel its sizes and its grid."""
    axes.set_ylabel(label, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    if isinstance(axes.yaxis.get_major_formatter(), ScalarFormatter):
        # Numbers that differ little are written out: a sum above the axis is overlooked.
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)


def set_log_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic, with these limits and labels."""
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    set_log_ticks(axes.xaxis if which == "x" else axes.yaxis, low, high)


def spans_magnitudes(values: Sequence[float]) -> bool:
    """Whether positive values need a logarithmic axis: the largest is ten times the smallest."""
    return 0 < _MAGNITUDES * min(values) < max(values)


def set_log_ticks(axis: Axis, low: float, high: float, beside: Axes | None = None) -> None:
    """Label a log axis, with more numbers to a decade the fewer decades there are.

    There are no more than have room; ``beside`` is the panel of an axis that is not its own.
    """
    decades = math.log10(high / low)
    if decades < _NARROW:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        axis.set_minor_locator(NullLocator())
        return
    inches = _inches(axis, beside or axis.axes)
    dense = [subs for most, subs in _SUBS if decades < most]
    subs = next((s for s in dense if _fit(axis, _between(s, low, high), inches / decades)), (1.0,))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_locator(LogLocator(subs=subs, numticks=20 if decades < _WIDE else 9))
    axis.set_major_formatter(plain if decades < 2.5 else LogFormatterMathtext())
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _inches(axis: Axis, axes: Axes) -> float:
    """The length of an axis, before the layout changes it a little."""
    box = axes.bbox
    return float(box.width if isinstance(axis, XAxis) else box.height) / axes.figure.dpi


def _between(subs: Sequence[float], low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (sub * 10.0**power for power in powers for sub in subs)
    return [tick for tick in ticks if low <= tick <= high]


def _fit(axis: Axis, ticks: Sequence[float], inches_a_decade: float) -> bool:
    """Whether the labels of neighbouring ticks stay apart."""
    for one, other in itertools.pairwise(ticks):
        digits = (len(f"{one:g}") + len(f"{other:g}")) / 2 + 1
        needed = digits * _WIDTH if isinstance(axis, XAxis) else _HEIGHT
        if math.log10(other / one) * inches_a_decade < needed * SMALL / 72:
            return False
    return True


def widen_span(axes: Axes) -> None:
    """Let a linear vertical axis span at least a thousandth of its values, or rounding fills it."""
    low, high = axes.get_ylim()
    least = _LEAST_SPAN * max(abs(low), abs(high))
    if axes.get_yscale() == "linear" and high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)


def styles_of(values: Sequence[Any]) -> list[dict[str, Any]]:
    """The colour and marker of each value: colours in order for numbers, apart for names."""
    styles = [cycle(number) for number in range(len(values))]
    if all(isinstance(value, (int, float)) for value in values):
        colors = ordered_colors(len(values))
        return [{**style, "color": color} for style, color in zip(styles, colors, strict=True)]
    return styles


def ordered_colors(count: int) -> list[str]:
    """So many colours in an order that everyone sees, also in grey: from dark to light."""
    # The last yellow of the map is hardly seen on white.
    shares = [0.45] if count == 1 else [0.85 * number / (count - 1) for number in range(count)]
    return [to_hex(colormaps[COLOR_MAP](share)) for share in shares]
