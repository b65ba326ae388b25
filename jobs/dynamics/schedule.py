"""When a trial measures: the points of its trajectory, and the sharpness along a flow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.spec.protocol import ROUNDING, spacing

PRODUCTS_PER_GRADIENT = 0.4
"""Hessian-vector products of a GD trial, which measures the sharpness about every fifty steps."""

MEASUREMENT = 20
"""Gradients that one measurement of the sharpness is worth: the products that Lanczos typically
needs at a relative residual of 1e-3."""

NEXT_MEASUREMENT = 10
"""The same of a point of a trajectory whose points are dense: from the eigenvectors of the point
before, 8 products in the flat regime and up to 13 at the edge, and a gradient for the loss."""

PER_THIRD_DERIVATIVE = 3
"""Gradients that a third derivative is worth."""

DENSE = 100
"""Every step up to this one is recorded, unless the protocol gives a number of steps."""

PER_DOUBLING = 10
"""Steps recorded in each doubling after that, equally spaced."""

MISSED = 0.002
"""Of S: by how much a maximum between two measurements may exceed both, if S(t) bends as before."""

DRIFT = 0.1
"""Of S: how far it may move from one measurement to the next."""

SPREAD = 2.0
"""How much longer one interval between measurements may be than the one before."""

MOST_STEPS = 50
"""Between two measurements."""

GROWTH = 1.5
"""The largest growth of S that is assumed since its last measurement."""


Every = int | str | None
"""How points are spaced: :attr:`jobs.spec.Protocol.trajectory_every`."""


def is_recorded(step: int, every: Every, *, time: float = 0.0, last: float | None = None) -> bool:
    """Whether a point of a trajectory is recorded.

    With a number, each ``every``-th step is. With None, the points suit trials of any length: every
    step up to ``DENSE``, then ``PER_DOUBLING`` of each doubling: 110, 120, …, 200, 220, …, 400,
    440, …. A trial of N ≥ 100 steps then has 100 + 10 log₂(N/100) points after θ0: 133 for 1,000
    steps and 200 for 100,000. With ``factor F``, the steps are 0, 1, 2, …, each at least F times
    the one before. These rules know the number of the step alone, so that a resumed trial records
    what an undisturbed one does. With ``time T``, the first point at or after each multiple of T
    is, which the ``time`` of the point tells and that of the ``last`` one, None before the first.
    """
    if not isinstance(every, str):
        return step % _gap(step, every) == 0
    kind, number = spacing(every)
    if kind == "time":
        return last is None or _multiples(time, number) > _multiples(last, number)
    return step == 0 or _by_factor(step - 1, number) == step


def steps_to_record(
    step: int, every: Every, *, time: float = 0.0, step_time: float | None = None
) -> int:
    """Steps from this one to the next that is recorded, at least 1.

    A flow, without a ``step_time``, knows no step's time before it has taken it: where points are
    spaced by time, each step is asked for.
    """
    if not isinstance(every, str):
        gap = _gap(step, every)
        return gap - step % gap
    kind, number = spacing(every)
    if kind == "factor":
        return _by_factor(step, number) - step
    if step_time is None:
        return 1
    wanted = _multiples(time, number) + 1
    ahead = max(1, math.floor((wanted - ROUNDING) * number / step_time) - step)
    while _multiples(step_time * (step + ahead), number) < wanted:
        ahead += 1
    return ahead


def points(steps: float, every: Every, step_time: float = 1.0) -> float:
    """About how many of ``steps`` steps are recorded, each of a time."""
    if isinstance(every, str):
        kind, number = spacing(every)
        if kind == "time":
            return min(steps, steps * step_time / number)
        together = 1 / (number - 1)  # below, steps lie closer than by the factor
        return min(steps, together + math.log(max(steps / together, 1.0)) / math.log(number))
    if every is not None:
        return steps / every
    return steps if steps <= DENSE else DENSE + PER_DOUBLING * math.log2(steps / DENSE)


def cost_of_point(every: Every) -> int:
    """Gradients that a recorded point is worth: fewer where points are dense, as they are unless
    they grow by a factor.
    """
    grows = isinstance(every, str) and spacing(every)[0] == "factor"
    return MEASUREMENT if grows else NEXT_MEASUREMENT


def _multiples(time: float, of: float) -> int:
    """How many multiples have been reached."""
    return math.floor(time / of + ROUNDING)


def _by_factor(step: int, factor: float) -> int:
    """The first step after this one that is recorded."""
    found = 0
    while found <= step:
        found = max(found + 1, math.ceil(found * factor))
    return found


@dataclass
class SharpnessSchedule:
    """Measurements of S along the flow, spaced so that no maximum of S(t) is missed.

    Between two measurements that are Δ apart, a parabola exceeds the higher of them by at most
    κΔ²/8, κ its second derivative. The next Δ keeps that below ``MISSED`` of S with the κ of the
    last three measurements. S may bend twice as much as before until an interior maximum is off by
    0.5 %.

    ``sharpness`` is that of the last measurement, negative before the first, and ``slope`` its
    growth over the ``span`` of time before. The next measurement is due ``interval`` after it, of
    which ``elapsed`` have passed, in ``steps`` steps.
    """

    sharpness: float = -1.0
    slope: float = 0.0
    span: float = 0.0
    interval: float = 0.0
    elapsed: float = 0.0
    steps: int = 0

    @property
    def due(self) -> bool:
        """Whether S must be measured before the next step."""
        if self.sharpness < 0:
            return True
        return self.steps > 0 and (self.time_left <= 0 or self.steps >= MOST_STEPS)

    @property
    def time_left(self) -> float:
        """The time until the next measurement; 0 or less where it is not known."""
        return self.interval * (1 - 1e-9) - self.elapsed

    @property
    def latest(self) -> float:
        """S where it was measured last.

        Raises:
            ValueError: it was not measured, or is not finite.
        """
        if not 0 <= self.sharpness < math.inf:
            known = "not measured" if self.sharpness < 0 else self.sharpness
            raise ValueError(f"sharpness is {known}; it must be measured and finite")
        return self.sharpness

    def add(self, sharpness: float) -> None:
        """Take in a measurement of S at the current θ."""
        if self.sharpness >= 0 and self.elapsed > 0:
            slope = (sharpness - self.sharpness) / self.elapsed
            bend = 2 * abs(slope - self.slope) / (self.span + self.elapsed)
            self.interval = min(
                SPREAD * self.elapsed,
                _ratio(DRIFT * sharpness, abs(slope)),
                math.sqrt(_ratio(8 * MISSED * sharpness, bend)),
            )
            self.slope, self.span = slope, self.elapsed
        self.sharpness, self.elapsed, self.steps = sharpness, 0.0, 0

    def advance(self, time: float) -> None:
        """Count a step that took so much time."""
        self.elapsed += time
        self.steps += 1

    def measure_next(self) -> None:
        """Ask for a measurement after the next step."""
        self.interval = 0.0

    def expected(self, time: float) -> float:
        """The S that is assumed until ``time`` from now: it goes on growing as it did."""
        grown = self.latest + max(self.slope, 0.0) * (self.elapsed + time)
        return min(grown, GROWTH * self.latest)

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep."""
        return vars(self).copy()

    def restore(self, state: dict[str, float]) -> None:
        """Continue from the state that :meth:`state` gave; other entries are ignored."""
        for name in vars(self):
            setattr(self, name, state[name])


def _gap(step: int, every: int | None) -> int:
    """Steps between points from ``step`` on. The ends of a doubling are multiples of either gap."""
    if every is not None:
        return every
    doublings = (step // DENSE).bit_length() - 1
    return 1 if doublings < 0 else (DENSE // PER_DOUBLING) << doublings


def _ratio(number: float, divisor: float) -> float:
    return number / divisor if divisor > 0 else math.inf
