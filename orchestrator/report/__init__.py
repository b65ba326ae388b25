"""Figures of a sweep, made from its tables alone."""

from orchestrator.report.draw import draw_transition
from orchestrator.report.transition import transition_figure

__all__ = ["draw_transition", "transition_figure"]
