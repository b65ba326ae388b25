"""One trial, from θ0 to its rows: the loop that gradient descent and gradient flow share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from jobs import checkpoint as checkpoints
from jobs import datasets
from jobs.checkpoint import Checkpoint, CheckpointError
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.flow_reference import FlowState
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds, Stepper
from jobs.dynamics.schedule import steps_to_record
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameters import constants
from jobs.problem import pose
from jobs.process_group import Alone, Ranks
from jobs.recorder import Recorder
from jobs.records import Crossing, Point
from jobs.spec import Trial
from jobs.spec.values import digest_of


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial found: a crossing per threshold, and the recorded trajectory.

    ``init_hash`` names θ0, and the constants of a network that has any: the first 16 hex digits of
    the SHA-256 of the numbers. ``data_digest`` names the training and test samples that were read
    (:class:`jobs.datasets.Dataset`).
    """

    trial: Trial
    init_hash: str
    data_digest: str
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]

    @property
    def init_sharpness(self) -> float | None:
        """The sharpness at θ0; None where it could not be measured."""
        return self.trajectory[0].sharpness


def run_trial(trial: Trial, *, device: str = "cpu", threads: int | None = None) -> TrialResult:
    """Run a trial to its end, here and now.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    run = OngoingTrial(trial, device=device, threads=threads)
    run.advance()
    return run.result()


class OngoingTrial:
    """A trial that can be advanced in slices, saved between them, and resumed.

    A run that was saved and restored ends with the same bits as one that was not, on the same
    machine with the same number of threads.

    Args:
        trial: what to compute.
        device: a torch device; everything the trial computes happens there.
        threads: CPU threads; None leaves torch's own number.
        ranks: the processes that compute it together, each with a run of its own for the same
            trial; None for this process alone.
        memory: bytes that this process may use for it; None leaves the choice to
            :func:`jobs.curvature.memory.default_budget`.

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
        self.data_digest = datasets.load(trial.problem).digest
        self._theta = self._theta0.clone()
        self.method = _method(trial, self._train)
        self._recorder = Recorder(trial, self._train, self._test, self._theta0, self.method)
        self._step, self._time = 0, 0.0
        self._loss = math.nan

    @property
    def finished(self) -> bool:
        """Whether every threshold has its row."""
        return not self._recorder.pending

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

    @property
    def trajectory(self) -> Sequence[Point]:
        """The points that were recorded so far, those before a checkpoint that was resumed, too."""
        return self._recorder.trajectory

    def result(self) -> TrialResult:
        """The rows of a finished trial.

        Raises:
            RuntimeError: the trial is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"trial {self.trial.trial_id} is at step {self._step}, not finished")
        recorder = self._recorder
        return TrialResult(
            self.trial,
            digest_of(b"".join(t.cpu().numpy().tobytes() for t in self._initial())),
            self.data_digest,
            tuple(recorder.crossings),
            tuple(recorder.trajectory),
        )

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

    def _initial(self) -> list[Tensor]:
        """θ0 and the network's constants."""
        return [self._theta0, *constants(self._train.module)]

    def look(self) -> None:
        """Evaluate the loss where the run stands, and record what this step calls for."""
        self._loss = self.method.evaluate(self._theta)
        self._recorder.observe(self._theta, self._step, self._time, self._loss)

    def bounds(self) -> Bounds:
        """How far the run may go before it must be looked at again."""
        protocol = self.trial.protocol
        to_record = steps_to_record(self._step, protocol.trajectory_every)
        return Bounds(
            threshold=self._recorder.pending[0],
            divergence=self._recorder.divergence,
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
        recorder = self._recorder
        since_audit, eigenvectors = recorder.meter.state()
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
                initial_loss=recorder.initial_loss,
                max_sharpness=recorder.max_sharpness,
                evaluated=self.method.evaluated,
                gradients=self._train.gradients,
                hvps=self._train.hvps,
                method=self.method.state(),
                flow=None if recorder.flow is None else recorder.flow.state(),
                crossings=tuple(recorder.crossings),
                trajectory=tuple(recorder.trajectory),
            ),
        )

    def restore(self, path: Path) -> None:
        """Take up a trial where :meth:`save` left it; a checkpoint that is refused changes nothing.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointError: it is damaged or belongs to another trial.
        """
        saved = checkpoints.load(path, self.trial.trial_id)
        theta = self._own(path, saved.theta)
        previous = self._own_if_any(path, saved.previous)
        eigenvectors = self._own_if_any(path, saved.eigenvectors)
        flow = self._own_flow(path, saved.flow)
        recorder = self._recorder
        self._theta = theta
        if recorder.flow is not None and flow is not None:
            recorder.flow.restore(flow)
        recorder.meter.restore(saved.since_audit, eigenvectors)
        self._step, self._time = saved.step, saved.time
        recorder.initial_loss, recorder.max_sharpness = saved.initial_loss, saved.max_sharpness
        recorder.crossings, recorder.trajectory = list(saved.crossings), list(saved.trajectory)
        recorder.pending = list(self.trial.protocol.epsilons[len(saved.crossings) :])
        self.method.restore(saved.method)
        self.method.previous = previous
        # The gradient at θ is not saved: it is evaluated again, and not counted twice.
        self._train.gradients = saved.gradients - saved.evaluated
        self._train.hvps = saved.hvps

    def _own_flow(self, path: Path, state: FlowState | None) -> FlowState | None:
        """The state of the flow beside GD on this run's device; None where there is no flow."""
        if (state is None) != (self._recorder.flow is None):
            there = "no" if state is None else "a"
            raise CheckpointError(f"{path} holds {there} flow beside GD, unlike this trial")
        if state is None:
            return None
        return dataclasses.replace(
            state,
            theta=self._own(path, state.theta),
            previous=self._own(path, state.previous),
            eigenvectors=self._own_if_any(path, state.eigenvectors),
        )

    def _own_if_any(self, path: Path, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else self._own(path, tensor)

    def _own(self, path: Path, tensor: Tensor) -> Tensor:
        """A tensor of a checkpoint on this run's device, after a look at its dtype and shape."""
        own = self._theta
        if tensor.shape[-1:] != own.shape or tensor.dtype != own.dtype:
            raise CheckpointError(
                f"{path} holds {tensor.dtype} of shape {tuple(tensor.shape)}; this trial needs "
                f"{own.dtype} of shape {tuple(own.shape)}"
            )
        return tensor.to(own.device)


def _method(trial: Trial, objective: Objective) -> Stepper:
    if trial.learning_rate is not None:
        return GradientDescent(objective, trial.learning_rate)
    return METHODS[trial.protocol.flow_method](objective)
