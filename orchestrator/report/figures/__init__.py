"""The figures of a run, each in a module of its name.

A figure is a function of the run's :class:`~orchestrator.report.tables.Tables` that yields what it
has drawn, and nothing where the tables lack what it shows.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from orchestrator.report.figures.agreement import agreement
from orchestrator.report.figures.central import central
from orchestrator.report.figures.manifold import manifold
from orchestrator.report.figures.sharpness_by_threshold import sharpness_by_threshold
from orchestrator.report.figures.starts import starts
from orchestrator.report.figures.test_loss import test_loss
from orchestrator.report.figures.trade_off import LEAST, trade_off
from orchestrator.report.figures.trajectories import trajectories
from orchestrator.report.figures.transition import transition, transition_figure
from orchestrator.report.figures.widths import widths
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Tables


class FigureKind(NamedTuple):
    """How figures of a kind are drawn, and what is missing where none is.

    ``of_a_column``: every column, or every column with its other seeds, has one of its own.
    """

    draw: Callable[[Tables], Iterator[ReportFigure]]
    missing: str
    of_a_column: bool


FIGURES: dict[str, FigureKind] = {
    "transition": FigureKind(transition, "no trial has settled", True),
    "test-loss": FigureKind(test_loss, "no trial has both an η_c and a test loss", True),
    "trajectories": FigureKind(trajectories, "no trial near η_c has a trajectory", True),
    "sharpness-by-threshold": FigureKind(
        sharpness_by_threshold, "no flow reached two thresholds", False
    ),
    "trade-off": FigureKind(
        trade_off, f"no column has {LEAST} solutions with η_c, sharpness and norm", True
    ),
    "central": FigureKind(central, "no column has central flows that reached a threshold", True),
    "starts": FigureKind(starts, "no trial begins at a state of another", False),
    "widths": FigureKind(widths, "no columns differ in width alone", False),
    "agreement": FigureKind(agreement, "fewer than two fitted η_c are known", False),
    "manifold": FigureKind(
        manifold, "no column is a diagonal network on one point in two dimensions", True
    ),
}
"""Every kind of figure by its name, in the order in which a reader wants them."""

__all__ = ["FIGURES", "FigureKind", "transition_figure"]
