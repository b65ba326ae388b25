"""How figures look: colours that everyone can tell apart, sizes for print, ticks for log axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import (
    FuncFormatter,
    LogFormatterMathtext,
    LogLocator,
    NullFormatter,
    NullLocator,
)

TEXT, SMALL = 11.0, 9.5
"""Sizes in points."""

INK, GREY, FAINT = "black", "#4d4d4d", "#e3e3e3"

_OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "os^DvP<"


@dataclass(frozen=True)
class Look:
    """The colour and the marker of a series; the two together repeat after 42."""

    color: str
    marker: str


def look(number: int) -> Look:
    """The look of the series with this number."""
    return Look(_OKABE_ITO[number % len(_OKABE_ITO)], _MARKERS[number % len(_MARKERS)])


def dress(axes: Axes, label: str) -> None:
    """Name the vertical axis, and give the panel its sizes and its grid."""
    axes.set_ylabel(label, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    axes.grid(True, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["right"]].set_visible(False)


def tick_logarithmically(axis: Axis, low: float, high: float) -> None:
    """Label a log axis, with more numbers to a decade the fewer decades there are."""
    decades = math.log10(high / low)
    if decades < 0.8:
        subs: tuple[float, ...] = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    elif decades < 1.4:
        subs = (1, 1.5, 2, 3, 4, 5, 7)
    else:
        subs = (1, 2, 5) if decades < 2.5 else (1,)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    axis.set_major_formatter(plain if decades < 2.5 else LogFormatterMathtext())
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
