"""A protocol: when the trials of a column stop, and what they measure on the way."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.spec.problem import Problem
from jobs.spec.values import SpecError, one_of, positive, whole

FLOW_METHODS = ("rkc2", "rk4")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """When the trials of a column stop and what they measure on the way.

    ``epsilons`` are the loss thresholds; they are kept distinct and in descending order, the order
    in which a run crosses them. ``max_steps`` bounds the steps of GD and of the flow alike, and the
    flow's gradients to ten times as many. A trial has diverged when its loss is not finite or above
    ``divergence_factor`` times the initial loss.
    ``trajectory_every`` is in steps. ``sharpness_rtol`` is the residual ‖Hv − λv‖ asked of every
    eigenpair, relative to the operator norm of H.

    Raises:
        SpecError: a field has a value that no protocol can have.
    """

    epsilons: tuple[float, ...]
    max_steps: int = 100_000
    divergence_factor: float = 1e3
    trajectory_every: int = 50
    sharpness_rtol: float = 1e-3
    flow_method: str = "rkc2"

    def __post_init__(self) -> None:
        if not isinstance(self.epsilons, (list, tuple)):
            raise SpecError("epsilon", self.epsilons, "a sequence of loss thresholds")
        if not self.epsilons:
            raise SpecError("epsilon", list(self.epsilons), "at least one loss threshold")
        distinct = {positive("epsilon", epsilon) for epsilon in self.epsilons}
        object.__setattr__(self, "epsilons", tuple(sorted(distinct, reverse=True)))
        whole("max_steps", self.max_steps, 1)
        factor = positive("divergence_factor", self.divergence_factor)
        if factor <= 1:
            raise SpecError("divergence_factor", self.divergence_factor, "a finite number above 1")
        object.__setattr__(self, "divergence_factor", factor)
        whole("trajectory_every", self.trajectory_every, 1)
        rtol = positive("sharpness_rtol", self.sharpness_rtol)
        if rtol >= 1:
            raise SpecError("sharpness_rtol", self.sharpness_rtol, "between 0 and 1")
        object.__setattr__(self, "sharpness_rtol", rtol)
        one_of("flow_method", self.flow_method, FLOW_METHODS)


LEAST_RTOL = {"float32": 1e-6, "float64": 1e-14}
"""The relative residual of an eigenpair that may be asked for, by dtype. Rounding stopped it at up
to 2.5 epsilons in float32, and 7 in float64, on networks of 30,000 to 660,000 parameters and on
diagonal operators of 10⁶ entries."""


def check_reachable(problem: Problem, protocol: Protocol) -> None:
    """Make sure that the problem's dtype can meet the protocol's tolerance.

    Raises:
        SpecError: ``sharpness_rtol`` is below the dtype's rounding.
    """
    least = LEAST_RTOL[problem.dtype]
    if protocol.sharpness_rtol < least:
        wider = "" if problem.dtype == "float64" else ", or dtype float64"
        expected = f"at least {least:g} in {problem.dtype}{wider}"
        raise SpecError("sharpness_rtol", protocol.sharpness_rtol, expected)
