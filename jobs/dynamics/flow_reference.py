"""How far gradient descent is from the gradient flow at equal time."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from torch import Tensor

from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.objective import Objective
from jobs.parameters import l2_norm
from jobs.spec import Protocol

ANYWHERE = Bounds(threshold=-math.inf, divergence=math.inf, steps=1)


@dataclass(frozen=True, kw_only=True)
class FlowState:
    """All that a reference needs to continue: its last step, and its integrator's state.

    ``theta`` is where the step ended, at ``time``, and ``previous`` where it began, both of shape
    (P,). ``eigenvectors``, shape (k, P), are those of the last measurement of the sharpness, which
    was number ``since_audit`` after one that started cold.
    """

    theta: Tensor
    previous: Tensor
    eigenvectors: Tensor | None
    since_audit: int
    time: float
    previous_time: float
    method: dict[str, float]


class FlowReference:
    """The gradient flow from θ0, which keeps up with gradient descent.

    It takes the steps that it would take alone, so that where it is at some time depends on θ0 and
    the protocol alone, not on the times at which it was asked before. Between two steps, a part of
    a step is taken from the first of them.

    Args:
        objective: L; what the flow evaluates is not counted there.
        theta0: where GD began, shape (P,).
        protocol: the flow's method, and how it measures the sharpness.
    """

    def __init__(self, objective: Objective, theta0: Tensor, protocol: Protocol) -> None:
        self._objective = copy.copy(objective)
        self._stepper = METHODS[protocol.flow_method](self._objective)
        self._meter = SharpnessMeter(self._objective, protocol.sharpness_rtol)
        self._at = self._before = Iterate(theta0)

    def follow(self, time: float) -> None:
        """Go on until a step has reached a time."""
        while self._at.time < time:
            self._before = self._at.evaluated(self._objective)
            if self._stepper.wants_sharpness:
                self._stepper.see_sharpness(self._meter.measure(self._at.theta).sharpness)
            self._at = self._stepper.move(self._before, ANYWHERE)

    def at(self, time: float) -> Tensor:
        """θ of the flow at a time, shape (P,).

        Raises:
            ValueError: the flow has gone on from there.
        """
        self.follow(time)
        if time == self._at.time:
            return self._at.theta
        if time < self._before.time:
            raise ValueError(
                f"time is {time}; it must be at least {self._before.time}, where the flow's last "
                "step began"
            )
        self._before = self._before.evaluated(self._objective)
        return self._stepper.part(self._before, time - self._before.time)

    def distance(self, theta: Tensor, time: float) -> float:
        """‖θ − θ_flow(t)‖₂."""
        return l2_norm(theta - self.at(time))

    def state(self) -> FlowState:
        """What a checkpoint must keep."""
        since_audit, eigenvectors = self._meter.state()
        return FlowState(
            theta=self._at.theta,
            previous=self._before.theta,
            eigenvectors=eigenvectors,
            since_audit=since_audit,
            time=self._at.time,
            previous_time=self._before.time,
            method=self._stepper.state(),
        )

    def restore(self, state: FlowState) -> None:
        """Continue from the state that :meth:`state` gave, on the device of this flow."""
        self._at = Iterate(state.theta, time=state.time)
        self._before = Iterate(state.previous, time=state.previous_time)
        self._meter.restore(state.since_audit, state.eigenvectors)
        self._stepper.restore(state.method)
