"""What is missing, what it costs, and who takes what: pure functions of plain values."""

from orchestrator.plan.column_progress import ColumnProgress, State
from orchestrator.plan.facts import FlowFacts, SettledTrial, Threshold
from orchestrator.plan.packs import Batching, Ready, first_work
from orchestrator.plan.prediction import (
    Prediction,
    predict,
    predict_all,
    seconds_per_gradient,
    seconds_to_go,
)
from orchestrator.plan.retry import Attempt, FailureClass, Outcome, gives_up
from orchestrator.plan.timed import Gradient, Timed

__all__ = [
    "Attempt",
    "Batching",
    "ColumnProgress",
    "FailureClass",
    "FlowFacts",
    "Gradient",
    "Outcome",
    "Prediction",
    "Ready",
    "SettledTrial",
    "State",
    "Threshold",
    "Timed",
    "first_work",
    "gives_up",
    "predict",
    "predict_all",
    "seconds_per_gradient",
    "seconds_to_go",
]
