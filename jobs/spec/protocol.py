"""A protocol: when the trials of a column stop, and what they measure on the way."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

from jobs.spec.problem import Problem
from jobs.spec.values import SpecError, nearest, one_of, positive, whole

FLOW_METHODS = ("rkc2", "rk4")

FURTHER_MEASURES = (
    "trace",
    "frobenius",
    "adaptive_sharpness",
    "average_sharpness",
    "norms",
    "distance_from_flow",
)
"""What can be measured at every crossing besides the columns of its row."""

ROUNDING = 1e-9
"""Of a time, within which it counts as reached."""

PROBES, PERTURBATION = 100, 0.1
"""Defaults of the number of probes and of ρ, where they are needed."""

MOST_THRESHOLDS = 1_000
"""Each trial has a row and a measurement of its own at every threshold that it reaches."""

MOST_PROBES = 1_000_000
"""Each takes a Hessian product; the error of their mean is a thousandth of that of one probe."""

MOST_EIGENVALUES = 100
"""Memory bounds them: of each, four vectors of θ's length are kept, and their images."""

PROBED = ("trace", "frobenius", "average_sharpness")
"""The further measures that are means over random vectors."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """When the trials of a column stop and what they measure on the way.

    ``epsilons`` are the loss thresholds; they are kept distinct and in descending order, the order
    in which a run crosses them. ``max_steps`` bounds the steps of GD and of the flow alike, and the
    flow's gradients to ten times as many; ``max_time`` bounds η·steps of GD, and the time of a
    central flow: a number, or ``flow K`` for K times the time of the column's flow to its smallest
    ε, of which a sweep makes a number once that is known. A trial has diverged when its loss is not
    finite or above ``divergence_factor`` times the initial loss.
    ``trajectory_every`` is the number of steps between two points of a trajectory; or ``time T``,
    for a point at each multiple of T of t = η·steps, or of the flow's time; or ``factor F``, for
    numbers of steps that grow by F. With None the points suit runs of any length
    (:func:`jobs.dynamics.schedule.is_recorded`).
    ``trajectory_eigenvalues`` is how many of the largest in magnitude are wanted at each point.
    ``sharpness_rtol`` is the residual ‖Hv − λv‖ asked of every eigenpair, relative to the operator
    norm of H, and ``lambda_min_rtol`` that asked of λ_min in a row besides, relative to |λ_min|;
    with None none is.

    ``also`` names further measures, to be taken at every crossing (``docs/measures.md``), and
    ``eigenvalues`` is how many of the largest in magnitude are wanted; ``midpoint`` asks for all of
    these at the mean of the last two iterates of GD as well. ``probes`` is the number of random
    vectors of a measure that is a mean over them, and ``perturbation`` the ρ of average sharpness.
    Where what was asked for has no use for one of the last three, it is None or False whatever was
    given, so that protocols which measure the same are equal.

    Raises:
        SpecError: a field has a value that no protocol can have.
    """

    epsilons: tuple[float, ...]
    max_steps: int = 100_000
    max_time: float | str | None = None
    divergence_factor: float = 1e3
    trajectory_every: int | str | None = None
    sharpness_rtol: float = 1e-3
    lambda_min_rtol: float | None = None
    flow_method: str = "rkc2"
    also: tuple[str, ...] = ()
    eigenvalues: int = 0
    midpoint: bool = False
    probes: int | None = None
    perturbation: float | None = None
    trajectory_eigenvalues: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.epsilons, (list, tuple)):
            raise SpecError("epsilon", self.epsilons, "a sequence of loss thresholds")
        if not self.epsilons:
            raise SpecError("epsilon", list(self.epsilons), "at least one loss threshold")
        if len(self.epsilons) > MOST_THRESHOLDS:
            expected = f"at most {MOST_THRESHOLDS} loss thresholds"
            raise SpecError("epsilon", list(self.epsilons), expected)
        distinct = {positive("epsilon", epsilon) for epsilon in self.epsilons}
        object.__setattr__(self, "epsilons", tuple(sorted(distinct, reverse=True)))
        whole("max_steps", self.max_steps, 1)
        if isinstance(self.max_time, str):
            self._set("max_time", f"flow {_spelled(flow_times(self.max_time))}")
        elif self.max_time is not None:
            self._set("max_time", positive("max_time", self.max_time))
        factor = positive("divergence_factor", self.divergence_factor)
        if factor <= 1:
            raise SpecError("divergence_factor", self.divergence_factor, "a finite number above 1")
        object.__setattr__(self, "divergence_factor", factor)
        if isinstance(self.trajectory_every, str):
            kind, number = spacing(self.trajectory_every)
            self._set("trajectory_every", f"{kind} {_spelled(number)}")
        elif self.trajectory_every is not None:
            whole("trajectory_every", self.trajectory_every, 1)
        self._set("sharpness_rtol", _fraction("sharpness_rtol", self.sharpness_rtol))
        if self.lambda_min_rtol is not None:
            self._set("lambda_min_rtol", _fraction("lambda_min_rtol", self.lambda_min_rtol))
        one_of("flow_method", self.flow_method, FLOW_METHODS)
        self._settle_further_measures()

    @property
    def of_flow(self) -> Protocol:
        """The protocol of a flow, which ``max_time`` does not bound."""
        return self if self.max_time is None else dataclasses.replace(self, max_time=None)

    def bounded_by(self, flow_time: float | None) -> Protocol:
        """The protocol of trials whose flow took this time to the smallest ε.

        Where it never came there, ``max_time`` in units of that time is no bound.
        """
        if not isinstance(self.max_time, str):
            return self
        return dataclasses.replace(self, max_time=self.time_bound(flow_time))

    def time_bound(self, flow_time: float | None = None) -> float | None:
        """``max_time`` as a number; None where there is none, or the flow's time is not known."""
        if not isinstance(self.max_time, str):
            return self.max_time
        return None if not flow_time else flow_times(self.max_time) * flow_time

    def _settle_further_measures(self) -> None:
        if not isinstance(self.also, (list, tuple)):
            raise SpecError("also", self.also, "a sequence of names of further measures")
        for name in self.also:
            if name not in FURTHER_MEASURES:
                expected = f"one of {', '.join(FURTHER_MEASURES)}{nearest(name, FURTHER_MEASURES)}"
                raise SpecError("also", name, expected)
        self._set("also", tuple(name for name in FURTHER_MEASURES if name in self.also))
        for field in ("eigenvalues", "trajectory_eigenvalues"):
            whole(field, getattr(self, field), 0)
            if getattr(self, field) > MOST_EIGENVALUES:
                raise SpecError(field, getattr(self, field), f"at most {MOST_EIGENVALUES}")
        if not isinstance(self.midpoint, bool):
            raise SpecError("midpoint", self.midpoint, "true or false")
        self._set("midpoint", self.midpoint and bool(self.also or self.eigenvalues))
        if self.probes is not None:
            whole("probes", self.probes, 2, MOST_PROBES)
        probes = PROBES if self.probes is None else self.probes
        self._set("probes", probes if set(PROBED) & set(self.also) else None)
        radius = PERTURBATION if self.perturbation is None else self.perturbation
        radius = positive("perturbation", radius)
        self._set("perturbation", radius if "average_sharpness" in self.also else None)

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)


@functools.lru_cache(maxsize=64)
def spacing(text: str) -> tuple[str, float]:
    """``time`` or ``factor``, and the number, of a text that says how points are spaced.

    Raises:
        SpecError: it says neither.
    """
    kind, number = _kind_and_number(text)
    least = {"time": 0.0, "factor": 1.0}.get(kind, math.inf)
    if not least < number < math.inf:
        expected = "a whole number of steps, 'time T' with T above 0, or 'factor F' with F above 1"
        raise SpecError("trajectory_every", text, expected)
    return kind, number


@functools.lru_cache(maxsize=64)
def flow_times(text: str) -> float:
    """K, of a text that says ``flow K``.

    Raises:
        SpecError: it does not.
    """
    kind, number = _kind_and_number(text)
    if kind != "flow" or not 0 < number < math.inf:
        expected = "a number above 0, the time, or 'flow K' with K above 0, in units of the flow's"
        raise SpecError("max_time", text, expected)
    return number


def _kind_and_number(text: str) -> tuple[str, float]:
    """A word and the number behind it; NaN where there is none."""
    kind, _, rest = text.strip().partition(" ")
    try:
        return kind, float(rest)
    except ValueError:
        return kind, math.nan


def _spelled(number: float) -> str:
    return repr(int(number) if number.is_integer() else number)


def _fraction(field: str, value: object) -> float:
    """The value as a float.

    Raises:
        SpecError: it is not between 0 and 1.
    """
    number = positive(field, value)
    if number >= 1:
        raise SpecError(field, value, "between 0 and 1")
    return number


LEAST_RTOL = {"float32": 1e-6, "float64": 1e-14}
"""The relative residual of an eigenpair that may be asked for, by dtype. Rounding stopped it at up
to 2.5 epsilons in float32, and 7 in float64, on networks of 30,000 to 660,000 parameters and on
diagonal operators of 10⁶ entries."""


def check_reachable(problem: Problem, protocol: Protocol) -> None:
    """Make sure that the problem's dtype can meet the protocol's tolerances.

    Raises:
        SpecError: ``sharpness_rtol`` or ``lambda_min_rtol`` is below the dtype's rounding.
    """
    least = LEAST_RTOL[problem.dtype]
    for field in ("sharpness_rtol", "lambda_min_rtol"):
        asked = getattr(protocol, field)
        if asked is not None and asked < least:
            wider = "" if problem.dtype == "float64" else ", or dtype float64"
            raise SpecError(field, asked, f"at least {least:g} in {problem.dtype}{wider}")
