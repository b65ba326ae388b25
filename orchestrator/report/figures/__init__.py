"""The figures of a run, each in a module of its name.

A figure is a function of the run's :class:`~orchestrator.report.tables.Tables` that yields what it
has drawn, or says by :class:`NothingToDrawError` what is missing.
"""

from collections.abc import Callable, Iterator

from orchestrator.report.figures.agreement import agreement
from orchestrator.report.figures.drawn import Drawn, NothingToDrawError
from orchestrator.report.figures.manifold import manifold
from orchestrator.report.figures.sharpness_by_threshold import sharpness_by_threshold
from orchestrator.report.figures.test_loss import test_loss
from orchestrator.report.figures.trade_off import trade_off
from orchestrator.report.figures.trajectories import trajectories
from orchestrator.report.figures.transition import transition, transition_figure
from orchestrator.report.figures.widths import widths
from orchestrator.report.tables import Tables

FIGURES: dict[str, Callable[[Tables], Iterator[Drawn]]] = {
    "transition": transition,
    "test-loss": test_loss,
    "trajectories": trajectories,
    "sharpness-by-threshold": sharpness_by_threshold,
    "trade-off": trade_off,
    "widths": widths,
    "agreement": agreement,
    "manifold": manifold,
}
"""Every figure by its name, in the order in which a reader wants them."""

OF_A_COLUMN = frozenset({"transition", "test-loss", "trajectories", "trade-off", "manifold"})
"""Those of which every column, or every column with its other seeds, has one of its own."""

__all__ = ["FIGURES", "OF_A_COLUMN", "Drawn", "NothingToDrawError", "transition_figure"]
