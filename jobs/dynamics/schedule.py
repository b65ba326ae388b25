"""When a trial measures: the points of its trajectory, and the sharpness along a flow."""

from __future__ import annotations

import math
from dataclasses import dataclass

DENSE = 100
"""Unless a number of steps is given, every step up to this one is recorded."""

PER_DOUBLING = 10
"""And from there on so many, equally spaced, each time that their number doubles."""

MISSED = 0.002
"""Of S: what a maximum between two looks may exceed both by, if S(t) bends as it did before."""

DRIFT = 0.1
"""Of S: how far it may move from one look to the next."""

SPREAD = 2.0
"""How much longer one stretch between looks may be than the one before."""

MOST_STEPS = 50
"""Between two looks."""

GROWTH = 1.5
"""The most that S is taken to have grown by since a look."""


def is_recorded(step: int, every: int | None) -> bool:
    """Whether a step is recorded.

    With a number, each ``every``-th step is. With None, the points suit runs of any length: every
    step up to ``DENSE``, then ``PER_DOUBLING`` of each doubling: 110, 120, …, 200, 220, …, 400,
    440, …. A run of N ≥ 100 steps then has 100 + 10 log₂(N/100) points after θ0: 133 for 1,000
    steps and 200 for 100,000. The rule knows the number of the step alone, so that a resumed run
    records what an undisturbed one does.
    """
    return step % _gap(step, every) == 0


def steps_to_record(step: int, every: int | None) -> int:
    """Steps from one to the next that is recorded, at least 1."""
    gap = _gap(step, every)
    return gap - step % gap


def points(steps: float, every: int | None) -> float:
    """About how many of so many steps are recorded."""
    if every is not None:
        return steps / every
    return steps if steps <= DENSE else DENSE + PER_DOUBLING * math.log2(steps / DENSE)


@dataclass
class SharpnessSchedule:
    """Measurements of S along the flow, spaced so that no maximum of S(t) is missed.

    Between two looks that are Δ apart, a parabola exceeds the higher of them by at most κΔ²/8, κ
    its second derivative. The next Δ keeps that below ``MISSED`` of S with the κ of the last three
    looks. S may bend twice as much as it did before an interior maximum is off by 0.5 %.
    """

    sharpness: float | None = None
    slope: float | None = None
    span: float = 0.0
    interval: float = 0.0
    elapsed: float = 0.0
    steps: int = 0

    @property
    def due(self) -> bool:
        """Whether S must be measured before the next step."""
        if self.sharpness is None:
            return True
        return self.steps > 0 and (self.left <= 0 or self.steps >= MOST_STEPS)

    @property
    def left(self) -> float:
        """The time until the next look; 0 or less where it is not known."""
        return self.interval * (1 - 1e-9) - self.elapsed

    @property
    def latest(self) -> float:
        """S where it was measured last.

        Raises:
            ValueError: it was not measured, or is not finite.
        """
        if self.sharpness is None or not math.isfinite(self.sharpness):
            raise ValueError(f"sharpness is {self.sharpness}; it must be measured and finite")
        return self.sharpness

    def see(self, sharpness: float) -> None:
        """Take in a measurement of S at the current θ."""
        if self.sharpness is not None and self.elapsed > 0:
            slope = (sharpness - self.sharpness) / self.elapsed
            before, span = (0.0, 0.0) if self.slope is None else (self.slope, self.span)
            bend = 2 * abs(slope - before) / (span + self.elapsed)
            self.interval = min(
                SPREAD * self.elapsed,
                _ratio(DRIFT * sharpness, abs(slope)),
                math.sqrt(_ratio(8 * MISSED * sharpness, bend)),
            )
            self.slope, self.span = slope, self.elapsed
        self.sharpness, self.elapsed, self.steps = sharpness, 0.0, 0

    def passed(self, time: float) -> None:
        """Count a step that took so much time."""
        self.elapsed += time
        self.steps += 1

    def soon(self) -> None:
        """Ask for a look after the next step."""
        self.interval = 0.0

    def ahead(self, time: float) -> float:
        """What S is taken for until so much time from now: it goes on growing as it did."""
        grown = self.latest + max(self.slope or 0.0, 0.0) * (self.elapsed + time)
        return min(grown, GROWTH * self.latest)

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep; -1 stands for a sharpness that was never measured."""
        return {
            "sharpness": -1.0 if self.sharpness is None else self.sharpness,
            "slope": 0.0 if self.slope is None else self.slope,
            "span": self.span,
            "interval": self.interval,
            "elapsed": self.elapsed,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Take up the state that :meth:`state` gave."""
        self.sharpness = None if state["sharpness"] < 0 else state["sharpness"]
        self.slope = state["slope"] if state["span"] > 0 else None
        self.span, self.interval = state["span"], state["interval"]
        self.elapsed, self.steps = state["elapsed"], int(state["steps"])


def _gap(step: int, every: int | None) -> int:
    """Steps between points from ``step`` on. The ends of a doubling are multiples of either gap."""
    if every is not None:
        return every
    doublings = (step // DENSE).bit_length() - 1
    return 1 if doublings < 0 else (DENSE // PER_DOUBLING) << doublings


def _ratio(number: float, divisor: float) -> float:
    return number / divisor if divisor > 0 else math.inf
