"""The science: what one trial computes. Needs torch and numpy; knows nothing of Ray or tables.

>>> from jobs import Problem, Protocol, Trial, run_trial
>>> problem = Problem(dataset="digits", n_train=50, width=8, depth=1)
>>> protocol = Protocol(epsilons=(0.3,), trajectory_every=20)
>>> result = run_trial(Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=0.1))
>>> result.crossings[0].status
'reached'
"""

from typing import TYPE_CHECKING, Any

from jobs.spec import Problem, Protocol, SpecError, Trial

if TYPE_CHECKING:
    from jobs.trial import OngoingTrial, TrialResult, run_trial

__all__ = [
    "OngoingTrial",
    "Problem",
    "Protocol",
    "SpecError",
    "Trial",
    "TrialResult",
    "run_trial",
]


def __getattr__(name: str) -> Any:
    """Import torch only when a trial is to be run: specs alone are cheap to load."""
    if name in ("TrialResult", "OngoingTrial", "run_trial"):
        from jobs import trial

        return getattr(trial, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
