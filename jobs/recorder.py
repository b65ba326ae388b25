"""What a trial records on its way: its trajectory, and a row for each threshold."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from jobs import datasets
from jobs.curvature.eigenvalues import Ends, ExtremalEigenvalues
from jobs.curvature.further import further_measures
from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.flow_reference import FlowReference
from jobs.dynamics.iterate import Stepper
from jobs.dynamics.schedule import is_recorded
from jobs.objective import Evaluation, Objective
from jobs.parameters import l1_norm, l2_norm
from jobs.records import Crossing, Measured, Point, Status, finite
from jobs.spec import Trial

MOST_GRADIENTS = 10
"""Of a flow, for each of ``max_steps``: above the four of a step of RK4 and those of measuring."""


class Recorder:
    """Looks at θ at the end of a step, measures what the step calls for, and keeps it.

    ``pending`` are the thresholds that have no row yet: when there are none, the trial is finished.
    ``flow`` is what GD is compared with, where the protocol asks for that.

    Args:
        trial: what is computed.
        train: the training objective; its counts of evaluations go into the rows.
        test: the test objective.
        theta0: where the trial began, shape (P,).
        method: what moves θ.
    """

    def __init__(
        self, trial: Trial, train: Objective, test: Objective, theta0: Tensor, method: Stepper
    ) -> None:
        self._trial, self._protocol = trial, trial.protocol
        self._train, self._test, self._theta0 = train, test, theta0
        self._method, self._eta = method, trial.learning_rate or 0.0
        self._classifies = datasets.shape(trial.problem.dataset).kind != "numbers"
        self.meter = SharpnessMeter(
            train, trial.protocol.sharpness_rtol, trial.protocol.lambda_min_rtol
        )
        self.flow: FlowReference | None = None
        if trial.kind == "gd" and "distance_from_flow" in trial.protocol.also:
            self.flow = FlowReference(train, theta0, trial.protocol)
        self.pending = list(trial.protocol.epsilons)
        self.crossings: list[Crossing] = []
        self.trajectory: list[Point] = []
        self.initial_loss: float | None = None
        self.max_sharpness: float | None = None

    @property
    def divergence(self) -> float:
        """The loss above which the trial has diverged."""
        assert self.initial_loss is not None
        return self._protocol.divergence_factor * self.initial_loss

    def observe(self, theta: Tensor, step: int, time: float, loss: float) -> None:
        """Record what this step calls for: a trajectory point, crossings, the end."""
        self._theta, self._step, self._time, self._loss = theta, step, time, loss
        protocol = self._protocol
        if self.initial_loss is None:
            self.initial_loss = loss
        if not loss <= self.divergence or not math.isfinite(loss):
            self._stop("diverged", None, ())
            return
        crossed = [epsilon for epsilon in self.pending if loss <= epsilon]
        last = step >= protocol.max_steps or self._flow_is_spent()
        due = is_recorded(step, protocol.trajectory_every)
        recorded = due or bool(crossed) or last
        measured = None
        if recorded or self._method.wants_sharpness:
            measured = self._measure(of_row=bool(crossed) or last)
        if recorded:
            self._record(measured)
        if self.flow is not None:
            # A step behind GD: no row waits long for it, nor does a stop of the run.
            self.flow.follow(time - self._eta)
        further = self._further() if crossed or last else ()
        if crossed:
            self._add_rows("reached", crossed, measured, further)
        if last and self.pending:
            self._stop("max_steps", measured, further)

    def _flow_is_spent(self) -> bool:
        """Whether a flow took more gradients than ``max_steps`` steps of RK4 would.

        A stabilised method may need a hundred for one of its own steps.
        """
        allowed = MOST_GRADIENTS * self._protocol.max_steps
        return self._trial.kind == "flow" and self._train.gradients >= allowed

    def _measure(self, *, of_row: bool) -> ExtremalEigenvalues:
        """S at θ. What goes into a row depends on θ alone, and both ends are measured."""
        ends: Ends = "both" if of_row else "dominant"
        measured = self.meter.measure(self._theta, ends, audit=of_row)
        self.max_sharpness = max(self.max_sharpness or 0.0, measured.sharpness)
        self._method.see_sharpness(measured.sharpness)
        return measured

    def _further(self) -> tuple[Measured, ...]:
        """The further measures at θ, and at the mean of the last two iterates."""
        protocol, train, middle = self._protocol, self._train, self._middle
        at_middle: list[Measured] = []
        if protocol.midpoint and middle is not None:  # first, for the flow does not go back
            time = self._time - self._eta / 2
            at_middle = further_measures(
                protocol, train, middle, point="mid", flow=self.flow, time=time
            )
        at_end = further_measures(
            protocol, train, self._theta, point="end", flow=self.flow, time=self._time
        )
        return (*at_end, *at_middle)

    def _record(self, measured: ExtremalEigenvalues | None) -> None:
        lambda_min = None
        if measured is not None and measured.residual_min <= self._protocol.sharpness_rtol:
            lambda_min = finite(measured.lambda_min)
        self.trajectory.append(
            Point(
                step=self._step,
                time=self._time,
                train_loss=finite(self._loss),
                test_loss=finite(self._test.evaluate(self._theta).loss),
                sharpness=None if measured is None else finite(measured.sharpness),
                lambda_min=lambda_min,
                l1_norm=finite(l1_norm(self._theta)),
                l2_norm=finite(l2_norm(self._theta)),
            )
        )

    def _stop(
        self,
        status: Status,
        measured: ExtremalEigenvalues | None,
        further: tuple[Measured, ...],
    ) -> None:
        if not self.trajectory or self.trajectory[-1].step != self._step:
            self._record(measured)
        self._add_rows(status, list(self.pending), measured, further)

    def _add_rows(
        self,
        status: Status,
        epsilons: list[float],
        measured: ExtremalEigenvalues | None,
        further: tuple[Measured, ...],
    ) -> None:
        train = self._train.evaluate(self._theta)
        test = self._test.evaluate(self._theta)
        middle = self._sharpness_mid() if measured is not None else None
        for epsilon in epsilons:
            self.pending.remove(epsilon)
            self.crossings.append(
                Crossing(
                    epsilon=epsilon,
                    status=status,
                    steps=self._step,
                    time=self._time,
                    train_loss=finite(self._loss),
                    train_accuracy=self._accuracy(train),
                    test_loss=finite(test.loss),
                    test_accuracy=self._accuracy(test),
                    **_spectrum(measured),
                    sharpness_mid=middle,
                    max_sharpness=self.max_sharpness,
                    hvps=self._train.hvps,
                    gradients=self._train.gradients,
                    l1_norm=finite(l1_norm(self._theta)),
                    l2_norm=finite(l2_norm(self._theta)),
                    distance_from_init=finite(l2_norm(self._theta - self._theta0)),
                    distance_from_flow=_distance_from_flow(further),
                    measures=further,
                )
            )

    def _accuracy(self, of: Evaluation) -> float | None:
        """None where outputs are numbers to be met, or not finite."""
        return of.accuracy if self._classifies and math.isfinite(of.loss) else None

    @property
    def _middle(self) -> Tensor | None:
        """The mean of the last two iterates of GD, free of the period-2 oscillation."""
        previous = self._method.previous
        return None if previous is None else (self._theta + previous) / 2

    def _sharpness_mid(self) -> float | None:
        """S at the mean of the last two iterates."""
        if self._middle is None:
            return None
        return finite(self.meter.measure(self._middle, audit=True).sharpness)


def _distance_from_flow(further: tuple[Measured, ...]) -> float | None:
    """That of the iterate itself, where it was measured."""
    found = [one for one in further if one.measure == "distance_from_flow" and one.point == "end"]
    return found[0].value if found else None


def _spectrum(measured: ExtremalEigenvalues | None) -> dict[str, Any]:
    """The columns of a row that come from the spectrum; None where it was not measured."""
    if measured is None:
        return dict.fromkeys(_OF_THE_SPECTRUM)
    return {
        "sharpness": finite(measured.sharpness),
        "lambda_max": finite(measured.lambda_max),
        "lambda_min": finite(measured.lambda_min),
        "sharpness_residual": finite(measured.residual),
        "sharpness_converged": measured.sharpness_converged,
        "lambda_min_residual": finite(measured.lambda_min_residual),
        "lambda_min_converged": measured.lambda_min_converged,
    }


_OF_THE_SPECTRUM = (
    *("sharpness", "lambda_max", "lambda_min", "sharpness_residual", "sharpness_converged"),
    *("lambda_min_residual", "lambda_min_converged"),
)
