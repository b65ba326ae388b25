"""The science: what one trial computes. Needs torch and numpy; knows nothing of Ray or tables.

The sharpness of any torch module, on any tensors:

>>> import torch
>>> from jobs import Hessian, Objective, sharpness
>>> _ = torch.manual_seed(0)
>>> net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
>>> x, y = torch.randn(20, 5), torch.randint(3, (20,))
>>> found = sharpness(net, "ce", x, y)
>>> found.converged and found.residual < 1e-3
True
>>> hessian = Hessian(Objective.from_module(net, "ce", x, y))  # an operator: hessian @ vector
>>> bool(torch.isclose((hessian @ found.eigenvector).norm(), torch.tensor(found.value), rtol=1e-3))
True

A trial of gradient descent from its initial parameters to a training loss:

>>> from jobs import Problem, Protocol, Trial, run_trial
>>> problem = Problem(dataset="digits", n_train=50, width=8, depth=1)
>>> protocol = Protocol(epsilons=(0.3,), trajectory_every=20)
>>> result = run_trial(Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=0.1))
>>> result.crossings[0].status
'reached'

It goes on from where it was, by another optimiser:

>>> from jobs import Optimizer, Start, StateName
>>> start = Start(parent=result.trial, state=StateName(epsilon=0.3))
>>> adam = Optimizer(name="adam")
>>> later = Protocol(epsilons=(0.26,), trajectory_every=20)
>>> trial = Trial(
...     problem=problem, protocol=later, kind="gd", learning_rate=3e-3, optimizer=adam, start=start
... )
>>> run_trial(trial).start_step == result.crossings[0].steps
True
"""

import importlib
from typing import TYPE_CHECKING, Any

from jobs.spec import Optimizer, Problem, Protocol, SpecError, Start, StateName, Trial

if TYPE_CHECKING:
    from jobs.arguments import ArgumentError
    from jobs.curvature.hessian import Hessian
    from jobs.curvature.sharpness import Sharpness, sharpness
    from jobs.network_requirements import NetworkError
    from jobs.objective import Objective
    from jobs.ongoing import OngoingTrial
    from jobs.records import TrialResult
    from jobs.trial import run_trial

__all__ = [
    "ArgumentError",
    "Hessian",
    "NetworkError",
    "Objective",
    "OngoingTrial",
    "Optimizer",
    "Problem",
    "Protocol",
    "Sharpness",
    "SpecError",
    "Start",
    "StateName",
    "Trial",
    "TrialResult",
    "run_trial",
    "sharpness",
]

_WITH_TORCH = {
    "ArgumentError": "arguments",
    "Hessian": "curvature.hessian",
    "NetworkError": "network_requirements",
    "Objective": "objective",
    "OngoingTrial": "ongoing",
    "Sharpness": "curvature.sharpness",
    "TrialResult": "records",
    "run_trial": "trial",
    "sharpness": "curvature.sharpness",
}


def __getattr__(name: str) -> Any:
    """Import torch only where something is to be computed: specs alone are cheap to load."""
    if name in _WITH_TORCH:
        return getattr(importlib.import_module(f"jobs.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
