"""What theory says along the axis of η: the edge of stability, and η_c, predicted and fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from orchestrator.report.look import GREY, INK
from orchestrator.report.phases import Kink

EDGE_NAME = r"edge of stability $2/\eta$"

EDGE: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 2.5)), "linewidth": 1.3}
CRITICAL: dict[str, Any] = {"color": INK, "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.2}
FITTED: dict[str, Any] = {"color": GREY, "linestyle": "solid", "linewidth": 1.0}
BAND: dict[str, Any] = {"color": GREY, "alpha": 0.15, "linewidth": 0}
FLOW: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 1.5}
"""The looks of lines, the same in every figure; that of the flow has the colour of its series."""


def draw_edge(axes: Axes) -> None:
    """The curve 2/η over the whole axis of η, which must have its limits."""
    eta = np.geomspace(*axes.get_xlim(), 200)
    axes.plot(eta, 2 / eta, scaley=False, label=EDGE_NAME, zorder=1.5, **EDGE)


def draw_critical(panels: Sequence[Axes], critical: tuple[float, float]) -> None:
    """The η_c at which the flow says that the edge begins to matter: (ε, η_c)."""
    for axes in panels:
        axes.axvline(critical[1], zorder=1.2, label=critical_name(critical), **CRITICAL)


def draw_kink(panels: Sequence[Axes], kink: Kink) -> None:
    """The η_c at which the sharpness of GD bends, and how well it is known."""
    for axes in panels:
        axes.axvline(kink.fitted or math.nan, zorder=1.2, label=kink_name(kink), **FITTED)
        if kink.low is not None and kink.high is not None:
            axes.axvspan(kink.low, kink.high, zorder=1.1, **BAND)


def critical_name(critical: tuple[float, float]) -> str:
    """The predicted η_c in a legend."""
    epsilon, eta_c = critical
    return rf"$\eta_c = 2/s_{{\mathrm{{gf}}}}$ = {eta_c:.3g} ($\varepsilon$ = {epsilon:g})"


def kink_name(kink: Kink) -> str:
    """The fitted η_c in a legend."""
    return rf"$\eta_c$ fitted = {kink.fitted:.3g} ($\varepsilon$ = {kink.epsilon:g})"
