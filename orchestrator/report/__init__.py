"""Figures: of a run, made from its tables alone, and of the theory of diagonal networks."""

from orchestrator.report.diagonal import diagonal_figure, draw_diagonal
from orchestrator.report.draw import draw_figures, figures_of
from orchestrator.report.figures import FIGURES, transition_figure
from orchestrator.report.report_figure import FORMATS, ReportFigure, save

__all__ = [
    "FIGURES",
    "FORMATS",
    "ReportFigure",
    "diagonal_figure",
    "draw_diagonal",
    "draw_figures",
    "figures_of",
    "save",
    "transition_figure",
]
