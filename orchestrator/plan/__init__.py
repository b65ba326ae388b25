"""What a run directory stands for, what is missing, what it costs, and who takes what: pure."""

from orchestrator.plan.batches import Batching, Ready, first_work
from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.column_state import ColumnCounts, ColumnState, Counts
from orchestrator.plan.cost import GradientKind, GradientSeconds
from orchestrator.plan.extension import extended, with_work_of
from orchestrator.plan.history import Attempt, AttemptOutcome, FailureClass, gives_up
from orchestrator.plan.prediction import Prediction, predict, seconds_to_go
from orchestrator.plan.run_state import RunningAttempt, RunState
from orchestrator.plan.settled_trials import (
    DIGITS,
    NOTHING_SETTLED,
    FlowSummary,
    SettledTrials,
    Threshold,
    as_name,
    as_number,
    newest,
)
from orchestrator.plan.states import State

__all__ = [
    "DIGITS",
    "NOTHING_SETTLED",
    "Attempt",
    "AttemptOutcome",
    "Batching",
    "ColumnCounts",
    "ColumnPlan",
    "ColumnState",
    "Counts",
    "FailureClass",
    "FlowSummary",
    "GradientKind",
    "GradientSeconds",
    "Prediction",
    "Ready",
    "RunState",
    "RunningAttempt",
    "SettledTrials",
    "State",
    "Threshold",
    "as_name",
    "as_number",
    "extended",
    "first_work",
    "gives_up",
    "newest",
    "predict",
    "seconds_to_go",
    "with_work_of",
]
