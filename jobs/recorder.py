"""What a trial records on its way: its trajectory, and a row for each threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jobs import datasets
from jobs.curvature.further import further_measures, leading_at
from jobs.curvature.ritz import ExtremalEigenvalues
from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.flow_reference import FlowReference, FlowState
from jobs.dynamics.iterate import Iterate
from jobs.dynamics.schedule import is_recorded
from jobs.objective import Evaluation, Objective
from jobs.parameters import l1_norm, l2_norm
from jobs.records import Crossing, Measured, Point, PointSpectrum, Status, finite
from jobs.spec import Trial
from jobs.spec.protocol import ROUNDING

MOST_GRADIENTS = 10
"""Of a flow, for each of ``max_steps``: above the four of a step of RK4 and those of measuring."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a recorder knows, as a checkpoint keeps it.

    ``eigenvectors``, shape (k, P), are those of the last measurement of the sharpness, which was
    number ``since_audit`` after one that started cold; so are those of the preconditioned Hessian.
    ``flow`` is the state of the flow that GD is compared with.
    """

    initial_loss: float | None
    max_sharpness: float | None
    since_audit: int
    eigenvectors: Tensor | None
    flow: FlowState | None
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]
    spectra: tuple[PointSpectrum, ...] = ()
    preconditioned_since_audit: int = 0
    preconditioned_eigenvectors: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Due:
    """What an iterate calls for.

    Attributes:
        diverged: the trial ends here, because its loss has left all bounds.
        crossed: the thresholds that it has reached here.
        last: the trial ends here at the latest.
        recorded: whether it is a point of the trajectory.
        measured: whether S is measured.
    """

    diverged: bool = False
    crossed: tuple[float, ...] = ()
    last: bool = False
    recorded: bool = False
    measured: bool = False

    @property
    def of_row(self) -> bool:
        """Whether what is measured goes into a row, which depends on θ alone."""
        return bool(self.crossed) or self.last


@dataclass(frozen=True)
class Observed:
    """What was found where an iterate stands, as far as it was due.

    Attributes:
        spectrum: of the Hessian at θ.
        at_middle: the same, at the mean of the last two iterates.
        test_loss: at θ.
        preconditioned: of the preconditioned Hessian at θ, where that is another one.
    """

    spectrum: ExtremalEigenvalues | None = None
    at_middle: ExtremalEigenvalues | None = None
    test_loss: float | None = None
    preconditioned: ExtremalEigenvalues | None = None


class Recorder:
    """Observes iterates, measures what each step calls for, and keeps it.

    ``flow`` is what GD is compared with, where the protocol asks for that; ``meter`` measures S,
    and ``preconditioned`` that of the preconditioned Hessian.

    Args:
        trial: what is computed.
        train: the training objective; its counts of evaluations go into the rows.
        test: the test objective.
        theta0: where the trial began, shape (P,).
    """

    def __init__(self, trial: Trial, train: Objective, test: Objective, theta0: Tensor) -> None:
        self._trial, self._protocol = trial, trial.protocol
        self._train, self._test, self._theta0 = train, test, theta0
        self._step_time = trial.optimizer.time_per_step(trial.learning_rate or 0.0)
        self._classifies = datasets.shape(trial.problem.dataset).kind != "numbers"
        self._rtol = rtol = trial.protocol.sharpness_rtol
        self.meter = SharpnessMeter(train, rtol, trial.protocol.lambda_min_rtol)
        self.preconditioned = SharpnessMeter(train, rtol)
        self.flow: FlowReference | None = None
        if trial.kind != "flow" and "distance_from_flow" in trial.protocol.also:
            self.flow = FlowReference(train, theta0, trial.protocol)
        self.crossings: list[Crossing] = []
        self.trajectory: list[Point] = []
        self.spectra: list[PointSpectrum] = []
        self._initial_loss: float | None = None
        self._max_sharpness: float | None = None

    @property
    def pending(self) -> tuple[float, ...]:
        """The thresholds that have no row yet; without any, the trial is finished."""
        return self._protocol.epsilons[len(self.crossings) :]

    @property
    def divergence(self) -> float:
        """The loss above which the trial has diverged."""
        assert self._initial_loss is not None
        return self._protocol.divergence_factor * self._initial_loss

    def state(self) -> Recorded:
        """What a checkpoint must keep."""
        since_audit, eigenvectors = self.meter.state()
        preconditioned_since_audit, preconditioned_eigenvectors = self.preconditioned.state()
        return Recorded(
            initial_loss=self._initial_loss,
            max_sharpness=self._max_sharpness,
            since_audit=since_audit,
            eigenvectors=eigenvectors,
            flow=None if self.flow is None else self.flow.state(),
            crossings=tuple(self.crossings),
            trajectory=tuple(self.trajectory),
            spectra=tuple(self.spectra),
            preconditioned_since_audit=preconditioned_since_audit,
            preconditioned_eigenvectors=preconditioned_eigenvectors,
        )

    def restore(self, recorded: Recorded) -> None:
        """Continue from the state that :meth:`state` gave."""
        self._initial_loss, self._max_sharpness = recorded.initial_loss, recorded.max_sharpness
        self.meter.restore(recorded.since_audit, recorded.eigenvectors)
        self.preconditioned.restore(
            recorded.preconditioned_since_audit, recorded.preconditioned_eigenvectors
        )
        self.crossings, self.trajectory = list(recorded.crossings), list(recorded.trajectory)
        self.spectra = list(recorded.spectra)
        if self.flow is not None and recorded.flow is not None:
            self.flow.restore(recorded.flow)

    @property
    def has_begun(self) -> bool:
        """Whether the loss is known that bounds are relative to."""
        return self._initial_loss is not None

    def begin(self, initial_loss: float) -> None:
        """Take L(θ0) as the loss that bounds are relative to, where a trial begins elsewhere."""
        self._initial_loss = initial_loss

    def reaches(self, chi: float) -> bool:
        """Whether the last point is the first one where χ is at least this."""
        found = [self._chi(point) >= chi for point in self.trajectory]
        return bool(found) and found[-1] and not any(found[:-1])

    def _chi(self, point: Point) -> float:
        rate, sharpness = self._trial.learning_rate, point.preconditioned_sharpness
        if rate is None or sharpness is None:
            return 0.0
        return self._trial.optimizer.chi(rate, sharpness)

    def due(self, at: Iterate, *, wants_sharpness: bool = False) -> Due:
        """What this step calls for; with ``wants_sharpness``, S is measured in any case."""
        self._at, protocol = at, self._protocol
        if self._initial_loss is None:
            self._initial_loss = at.loss
        if not at.average_loss <= self.divergence or not math.isfinite(at.loss):
            return Due(diverged=True, recorded=True)
        crossed = tuple(epsilon for epsilon in self.pending if at.average_loss <= epsilon)
        last = self._is_spent(at) or at.ended is not None
        regular = is_recorded(
            at.step,
            protocol.trajectory_every,
            time=at.time,
            last=self.trajectory[-1].time if self.trajectory else None,
        )
        recorded = (regular or bool(crossed) or last) and not self._has(at)
        return Due(
            crossed=crossed,
            last=last,
            recorded=recorded,
            measured=recorded or last or wants_sharpness,
        )

    def record(self, due: Due, found: Observed) -> None:
        """Keep what is due: a trajectory point, crossings, the end.

        Args:
            due: what :meth:`due` said of this iterate.
            found: what is due there: the spectrum if ``measured``, the test loss if ``recorded``,
                and for a row the spectrum at :attr:`middle`.
        """
        if found.spectrum is not None:
            self._max_sharpness = max(self._max_sharpness or 0.0, found.spectrum.sharpness)
        if due.recorded:
            self._record(found)
            if found.spectrum is not None and (count := self._protocol.trajectory_eigenvalues):
                values, residuals = leading_at(self._train, self._at.theta, count, self._rtol)
                self.spectra.append(PointSpectrum(self._at.step, values, residuals))
        if due.diverged:
            self._add_rows("diverged", self.pending, found, ())
            return
        if self.flow is not None:
            # A step behind GD: no row waits long for it, nor does a stop of the trial.
            self.flow.follow(self._at.time - self._step_time)
        further = self._further() if due.of_row else ()
        if due.crossed:
            self._add_rows("reached", due.crossed, found, further)
        if due.last and self.pending:
            status: Status = "max_steps" if self._at.ended is None else "unsolved"
            self._add_rows(status, self.pending, found, further)

    def _has(self, at: Iterate) -> bool:
        """Whether the iterate is the last point: one from which the trial cannot go on is met
        twice.
        """
        return at.ended is not None and self.trajectory[-1].step == at.step

    def _is_spent(self, at: Iterate) -> bool:
        """Whether a trial has taken all its steps, or what corresponds to them.

        A central flow takes the time of that many steps of GD, by ten times as many of its own at
        most; a flow no more gradients than so many steps of RK4 would: a stabilised method may need
        a hundred for one of its own steps.
        """
        most, kind = self._trial.most_steps, self._trial.kind
        if kind == "central":
            assert self._trial.learning_rate is not None
            time = most * self._trial.learning_rate
            if (bound := self._protocol.time_bound()) is not None:
                time = min(time, bound)
            return at.time >= time * (1 - ROUNDING) or at.step >= MOST_GRADIENTS * most
        spent = kind == "flow" and self._train.gradients >= MOST_GRADIENTS * most
        return spent or at.step >= most

    def _further(self) -> tuple[Measured, ...]:
        """The further measures at θ, and at the mean of the last two iterates."""
        protocol, train, middle = self._protocol, self._train, self.middle
        at_middle: list[Measured] = []
        if protocol.midpoint and middle is not None:  # first, for the flow does not go back
            time = self._at.time - self._step_time / 2
            at_middle = further_measures(
                protocol, train, middle, point="mid", flow=self.flow, time=time
            )
        at_end = further_measures(
            protocol, train, self._at.theta, point="end", flow=self.flow, time=self._at.time
        )
        return (*at_end, *at_middle)

    def _record(self, found: Observed) -> None:
        assert found.test_loss is not None
        measured, lambda_min = found.spectrum, None
        if measured is not None and measured.residual_min <= self._protocol.sharpness_rtol:
            lambda_min = finite(measured.lambda_min)
        self.trajectory.append(
            Point(
                step=self._at.step,
                time=self._at.time,
                train_loss=finite(self._at.average_loss),
                test_loss=finite(found.test_loss),
                sharpness=_sharpness(measured),
                lambda_min=lambda_min,
                l1_norm=finite(l1_norm(self._at.theta)),
                l2_norm=finite(l2_norm(self._at.theta)),
                gradient_norm=finite(l2_norm(self._at.gradient)),
                loss_rises=None if self._at.previous is None else self._at.loss_rises,
                realised_edge=self._realised_edge(),
                preconditioned_sharpness=_sharpness(found.preconditioned or measured),
                **self._oscillation,
            )
        )

    @property
    def _oscillation(self) -> dict[str, Any]:
        """What a central flow knows of the oscillation of GD; None of other trials."""
        at = self._at
        if self._trial.kind != "central":
            return dict.fromkeys(("oscillation", "at_edge"))
        return {"oscillation": finite(at.oscillation), "at_edge": at.at_edge}

    def _realised_edge(self) -> float | None:
        """ζ of the last step: of GD, the gradient there was (θ' − θ)/η."""
        at, rate = self._at, self._trial.learning_rate
        if at.previous is None or rate is None:
            return None
        descent = at.previous - at.theta
        if at.previous_gradient is None:
            slope = l2_norm(descent) ** 2 / rate
        else:
            slope = float(torch.dot(at.previous_gradient.double(), descent.double()))
        if slope == 0:
            return None
        return finite(1 + (at.loss - at.previous_loss) / slope)

    def _add_rows(
        self,
        status: Status,
        epsilons: Sequence[float],
        found: Observed,
        further: tuple[Measured, ...],
    ) -> None:
        train = self._train.evaluate(self._at.theta)
        test = self._test.evaluate(self._at.theta)
        middle = found.at_middle
        for epsilon in epsilons:
            self.crossings.append(
                Crossing(
                    epsilon=epsilon,
                    status=status,
                    steps=self._at.step,
                    time=self._at.time,
                    train_loss=finite(self._at.average_loss),
                    train_accuracy=self._accuracy(train),
                    test_loss=finite(test.loss),
                    test_accuracy=self._accuracy(test),
                    **_spectrum(found.spectrum),
                    sharpness_mid=_sharpness(middle),
                    max_sharpness=self._max_sharpness,
                    hvps=self._train.hvps,
                    gradients=self._train.gradients,
                    l1_norm=finite(l1_norm(self._at.theta)),
                    l2_norm=finite(l2_norm(self._at.theta)),
                    distance_from_init=finite(l2_norm(self._at.theta - self._theta0)),
                    distance_from_flow=_distance_from_flow(further),
                    measures=further,
                    data_loss=finite(train.data_loss),
                    data_sharpness=self._data_sharpness(found.spectrum),
                    preconditioned_sharpness=_sharpness(found.preconditioned or found.spectrum),
                    third_derivatives=self._third_derivatives,
                    reason=self._at.ended if status == "unsolved" else None,
                    **self._oscillation,
                )
            )

    @property
    def _third_derivatives(self) -> int | None:
        return self._train.third_derivatives if self._trial.kind == "central" else None

    def _data_sharpness(self, measured: ExtremalEigenvalues | None) -> float | None:
        """The sharpness without weight decay: both ends of the spectrum are moved by λ."""
        if measured is None:
            return None
        if not (decay := self._train.weight_decay):
            return finite(measured.sharpness)
        ends = (measured.lambda_max - decay, measured.lambda_min - decay)
        return finite(max(map(abs, ends)))

    def _accuracy(self, of: Evaluation) -> float | None:
        """None where outputs are numbers to be met, or not finite."""
        return of.accuracy if self._classifies and math.isfinite(of.loss) else None

    @property
    def middle(self) -> Tensor | None:
        """The mean of the last two iterates of GD, free of the period-2 oscillation."""
        previous = self._at.previous
        return None if previous is None else (self._at.theta + previous) / 2


def _distance_from_flow(further: tuple[Measured, ...]) -> float | None:
    """That of the iterate itself, where it was measured."""
    found = [one for one in further if one.measure == "distance_from_flow" and one.point == "end"]
    return found[0].value if found else None


def _sharpness(measured: ExtremalEigenvalues | None) -> float | None:
    return None if measured is None else finite(measured.sharpness)


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
