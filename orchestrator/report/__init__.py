"""Figures: of a sweep, made from its tables alone, and of the theory of diagonal networks."""

from orchestrator.report.diagonal import diagonal_figure, draw_diagonal
from orchestrator.report.draw import draw_transition
from orchestrator.report.transition import transition_figure

__all__ = ["diagonal_figure", "draw_diagonal", "draw_transition", "transition_figure"]
