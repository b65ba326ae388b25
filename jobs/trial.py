"""One trial, from θ0 to its rows: the loop that gradient descent and gradient flow share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from jobs import checkpoint as checkpoints
from jobs.checkpoint import Checkpoint, CheckpointError
from jobs.descent import GradientDescent
from jobs.eigenvalues import Ends, ExtremalEigenvalues
from jobs.flow import METHODS
from jobs.measures import l1_norm, l2_norm
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.problem import pose
from jobs.ranks import Alone, Ranks
from jobs.records import Crossing, Point, Status, finite
from jobs.sharpness import SharpnessMeter
from jobs.spec import Trial
from jobs.stepper import Bounds, Stepper

MOST_GRADIENTS = 10
"""Of a flow, for each of ``max_steps``: above the four of a step of RK4 and those of measuring."""


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial found: a crossing per threshold, and the recorded trajectory."""

    trial: Trial
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]


def run_trial(trial: Trial, *, device: str = "cpu", threads: int | None = None) -> TrialResult:
    """Run a trial to its end, here and now.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    run = TrialRun(trial, device=device, threads=threads)
    run.advance()
    return run.result()


class TrialRun:
    """A trial that can be advanced in slices, saved between them, and taken up again.

    A run that was saved and restored ends with the same bits as one that was not, on the same
    machine with the same number of threads.

    Args:
        trial: what to compute.
        device: a torch device; everything the trial computes happens there.
        threads: CPU threads; None leaves torch's own number.
        ranks: the processes that compute it together, each with a run of its own for the same
            trial; None for this process alone.
        memory: bytes that this process may use for it; None leaves the choice to
            :func:`jobs.memory.default_budget`.

    Raises:
        DatasetError: the dataset is not there, or too small.
        PlacementError: the device is not there, or there are more ranks than samples.
        MemoryBudgetError: not even one sample fits into the memory.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        device: str = "cpu",
        threads: int | None = None,
        ranks: Ranks | None = None,
        memory: int | None = None,
    ) -> None:
        self.trial = trial
        self.ranks = ranks or Alone()
        self.ranks.wants_stop = self.ranks.stop_agreed = False
        self.threads = threads
        with reproducible(threads):
            self._train, self._test, self._theta0 = pose(trial.problem, device, self.ranks, memory)
        self._theta = self._theta0.clone()
        self._meter = SharpnessMeter(self._train, trial.protocol.sharpness_rtol)
        self.method = _method(trial, self._train)
        self._pending = list(trial.protocol.epsilons)
        self._crossings: list[Crossing] = []
        self._trajectory: list[Point] = []
        self._initial_loss: float | None = None
        self._max_sharpness: float | None = None
        self._step, self._time = 0, 0.0
        self._loss = math.nan

    @property
    def finished(self) -> bool:
        """Whether every threshold has its row."""
        return not self._pending

    @property
    def step(self) -> int:
        """How many updates of θ were made."""
        return self._step

    @property
    def theta(self) -> Tensor:
        """θ, shape (P,); a step makes a new one."""
        return self._theta

    @property
    def loss(self) -> float:
        """The training loss where it was last evaluated; NaN before the first evaluation."""
        return self._loss

    def result(self) -> TrialResult:
        """The rows of a finished trial.

        Raises:
            RuntimeError: the trial is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"trial {self.trial.trial_id} is at step {self._step}, not finished")
        return TrialResult(self.trial, tuple(self._crossings), tuple(self._trajectory))

    def advance(self, until: Callable[[], bool] | None = None) -> bool:
        """Go on until the trial is finished, or until ``until()`` is true at a step's edge.

        Among several ranks, any may pause so while the others wait for it. They end together at
        the edge where ``ranks.stop_agreed`` comes true. Returns whether the trial is finished.
        """
        with reproducible(self.threads):
            while not (self.finished or self.ranks.stop_agreed or (until is not None and until())):
                self.look()
                if not self.finished:
                    moved = self.method.move(self._theta, self.bounds())
                    self.go_to(moved.theta, moved.steps, moved.time)
        return self.finished

    def look(self) -> None:
        """Evaluate the loss where the run stands, and record what this step calls for."""
        self._loss = self.method.evaluate(self._theta)
        self._observe()

    def bounds(self) -> Bounds:
        """How far the run may go before it must be looked at again."""
        protocol = self.trial.protocol
        to_record = protocol.trajectory_every - self._step % protocol.trajectory_every
        return Bounds(
            threshold=self._pending[0],
            divergence=self._divergence(),
            steps=min(to_record, protocol.max_steps - self._step),
        )

    def go_to(self, theta: Tensor, steps: int, time: float) -> None:
        """Stand at θ, so many steps and so much time further."""
        self._theta = theta
        self._step += steps
        eta = self.trial.learning_rate
        # GD's time in one product: sums would depend on how its steps came in blocks.
        self._time = self._time + time if eta is None else eta * self._step

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole.

        It is that of the trial, not of a rank: any number of ranks can take it up.
        """
        since_audit, eigenvectors = self._meter.state()
        checkpoints.save(
            path,
            Checkpoint(
                trial_id=self.trial.trial_id,
                theta=self._theta,
                previous=self.method.previous,
                eigenvectors=eigenvectors,
                since_audit=since_audit,
                step=self._step,
                time=self._time,
                initial_loss=self._initial_loss,
                max_sharpness=self._max_sharpness,
                evaluated=self.method.evaluated,
                gradients=self._train.gradients,
                hvps=self._train.hvps,
                method=self.method.state(),
                crossings=tuple(self._crossings),
                trajectory=tuple(self._trajectory),
            ),
        )

    def restore(self, path: Path) -> None:
        """Take up a trial where :meth:`save` left it; a checkpoint that is refused changes nothing.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointError: it is damaged or belongs to another trial.
        """
        saved = checkpoints.load(path, self.trial.trial_id)
        theta, previous, eigenvectors = (
            self._like_theta(path, tensor)
            for tensor in (saved.theta, saved.previous, saved.eigenvectors)
        )
        assert theta is not None
        self._theta = theta
        self._meter.restore(saved.since_audit, eigenvectors)
        self._step, self._time = saved.step, saved.time
        self._initial_loss, self._max_sharpness = saved.initial_loss, saved.max_sharpness
        self._crossings, self._trajectory = list(saved.crossings), list(saved.trajectory)
        self._pending = list(self.trial.protocol.epsilons[len(saved.crossings) :])
        self.method.restore(saved.method)
        self.method.previous = previous
        # The gradient at θ is not saved: it is evaluated again, and not counted twice.
        self._train.gradients = saved.gradients - saved.evaluated
        self._train.hvps = saved.hvps

    def _like_theta(self, path: Path, tensor: Tensor | None) -> Tensor | None:
        """A tensor of a checkpoint on this run's device, after a look at its dtype and shape."""
        own = self._theta
        if tensor is None:
            return None
        if tensor.shape[-1:] != own.shape or tensor.dtype != own.dtype:
            raise CheckpointError(
                f"{path} holds {tensor.dtype} of shape {tuple(tensor.shape)}; this trial needs "
                f"{own.dtype} of shape {tuple(own.shape)}"
            )
        return tensor.to(own.device)

    def _divergence(self) -> float:
        """The loss above which the trial has diverged."""
        assert self._initial_loss is not None
        return self.trial.protocol.divergence_factor * self._initial_loss

    def _observe(self) -> None:
        """Record what this step calls for: a trajectory point, crossings, the end."""
        protocol = self.trial.protocol
        if self._initial_loss is None:
            self._initial_loss = self._loss
        if not self._loss <= self._divergence() or not math.isfinite(self._loss):
            self._stop("diverged", None)
            return
        crossed = [epsilon for epsilon in self._pending if self._loss <= epsilon]
        last = self._step >= protocol.max_steps or self._flow_is_spent()
        recorded = self._step % protocol.trajectory_every == 0 or bool(crossed) or last
        measured = None
        if recorded or self.method.wants_sharpness:
            measured = self._measure(of_row=bool(crossed) or last)
        if recorded:
            self._record(measured)
        if crossed:
            self._add_rows("reached", crossed, measured)
        if last and self._pending:
            self._stop("max_steps", measured)

    def _flow_is_spent(self) -> bool:
        """Whether a flow took more gradients than ``max_steps`` steps of RK4 would.

        A stabilised method may need a hundred for one of its own steps.
        """
        allowed = MOST_GRADIENTS * self.trial.protocol.max_steps
        return self.trial.kind == "flow" and self._train.gradients >= allowed

    def _measure(self, *, of_row: bool) -> ExtremalEigenvalues:
        """S at θ. What goes into a row depends on θ alone, and both ends are measured."""
        ends: Ends = "both" if of_row else "dominant"
        measured = self._meter.measure(self._theta, ends, audit=of_row)
        self._max_sharpness = max(self._max_sharpness or 0.0, measured.sharpness)
        self.method.see_sharpness(measured.sharpness)
        return measured

    def _record(self, measured: ExtremalEigenvalues | None) -> None:
        lambda_min = None
        if measured is not None and measured.residual_min <= self.trial.protocol.sharpness_rtol:
            lambda_min = finite(measured.lambda_min)
        self._trajectory.append(
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

    def _stop(self, status: Status, measured: ExtremalEigenvalues | None) -> None:
        if not self._trajectory or self._trajectory[-1].step != self._step:
            self._record(measured)
        self._add_rows(status, list(self._pending), measured)

    def _add_rows(
        self, status: Status, epsilons: list[float], measured: ExtremalEigenvalues | None
    ) -> None:
        train = self._train.evaluate(self._theta)
        test = self._test.evaluate(self._theta)
        middle = self._sharpness_mid() if measured is not None else None
        for epsilon in epsilons:
            self._pending.remove(epsilon)
            self._crossings.append(
                Crossing(
                    epsilon=epsilon,
                    status=status,
                    steps=self._step,
                    time=self._time,
                    train_loss=finite(self._loss),
                    train_accuracy=train.accuracy if math.isfinite(train.loss) else None,
                    test_loss=finite(test.loss),
                    test_accuracy=test.accuracy if math.isfinite(test.loss) else None,
                    **_spectrum(measured),
                    sharpness_mid=middle,
                    max_sharpness=self._max_sharpness,
                    hvps=self._train.hvps,
                    gradients=self._train.gradients,
                    l1_norm=finite(l1_norm(self._theta)),
                    l2_norm=finite(l2_norm(self._theta)),
                    distance_from_init=finite(l2_norm(self._theta - self._theta0)),
                )
            )

    def _sharpness_mid(self) -> float | None:
        """S at the mean of the last two iterates of GD, free of the period-2 oscillation."""
        if self.method.previous is None:
            return None
        middle = (self._theta + self.method.previous) / 2
        return finite(self._meter.measure(middle, audit=True).sharpness)


def _spectrum(measured: ExtremalEigenvalues | None) -> dict[str, Any]:
    """The columns of a row that come from the spectrum; None where it was not measured."""
    if measured is None:
        names = ("sharpness", "lambda_max", "lambda_min", "sharpness_residual")
        return {**dict.fromkeys(names), "sharpness_converged": None}
    return {
        "sharpness": finite(measured.sharpness),
        "lambda_max": finite(measured.lambda_max),
        "lambda_min": finite(measured.lambda_min),
        "sharpness_residual": finite(max(measured.residual_max, measured.residual_min)),
        "sharpness_converged": measured.converged,
    }


def _method(trial: Trial, objective: Objective) -> Stepper:
    if trial.learning_rate is not None:
        return GradientDescent(objective, trial.learning_rate)
    protocol = trial.protocol
    return METHODS[protocol.flow_method](objective, protocol.trajectory_every)
