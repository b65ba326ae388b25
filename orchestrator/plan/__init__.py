"""What a run directory stands for, what is missing, what it costs, and who takes what: pure."""

from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.facts import FlowFacts, Threshold
from orchestrator.plan.outcomes import DIGITS, NOTHING_SETTLED, Outcomes, as_name, as_number, newest
from orchestrator.plan.packs import Batching, Ready, first_work
from orchestrator.plan.prediction import Prediction, predict, seconds_to_go
from orchestrator.plan.retry import Attempt, FailureClass, Outcome, gives_up
from orchestrator.plan.run_state import AtWork, ColumnState, Counts, RunState
from orchestrator.plan.states import State
from orchestrator.plan.timed import Gradient, Timed

__all__ = [
    "DIGITS",
    "NOTHING_SETTLED",
    "AtWork",
    "Attempt",
    "Batching",
    "ColumnPlan",
    "ColumnState",
    "Counts",
    "FailureClass",
    "FlowFacts",
    "Gradient",
    "Outcome",
    "Outcomes",
    "Prediction",
    "Ready",
    "RunState",
    "State",
    "Threshold",
    "Timed",
    "as_name",
    "as_number",
    "first_work",
    "gives_up",
    "newest",
    "predict",
    "seconds_to_go",
]
