"""What every figure is drawn with: the lines of theory, and the texts that go with a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report.places import Row
from orchestrator.report.style import GREY, INK


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure with its words, all plain text.

    ``name`` is that of its files, without suffix. ``caption`` says what is seen and how it was
    selected, ``alternative`` what the drawing shows to a person who does not see it.
    """

    name: str
    title: str
    caption: str
    alternative: str
    figure: Figure

    def texts(self) -> dict[str, str]:
        """All but the drawing."""
        return {
            "name": self.name,
            "title": self.title,
            "caption": self.caption,
            "alternative": self.alternative,
        }


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


def draw_kink(panels: Sequence[Axes], phase: Row) -> None:
    """The η_c at which the sharpness of GD bends, and how well it is known."""
    for axes in panels:
        axes.axvline(phase["eta_c_fitted"], zorder=1.2, label=kink_name(phase), **FITTED)
        if has_interval(phase):
            axes.axvspan(phase["eta_c_fitted_low"], phase["eta_c_fitted_high"], zorder=1.1, **BAND)


def has_interval(phase: Row) -> bool:
    """Whether the fitted η_c has bounds."""
    return phase["eta_c_fitted_low"] is not None and phase["eta_c_fitted_high"] is not None


def critical_name(critical: tuple[float, float]) -> str:
    """The predicted η_c in a legend."""
    epsilon, eta_c = critical
    return rf"$\eta_c = 2/s_{{\mathrm{{gf}}}}$ = {eta_c:.3g} ($\varepsilon$ = {epsilon:g})"


def kink_name(phase: Row) -> str:
    """The fitted η_c in a legend."""
    return rf"$\eta_c$ fitted = {phase['eta_c_fitted']:.3g} ($\varepsilon$ = {phase['epsilon']:g})"
