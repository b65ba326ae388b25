"""One trial, from θ0 to its rows: the loop that gradient descent and gradient flow share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs import checkpoint as checkpoints
from jobs import datasets
from jobs.checkpoint import Checkpoint, CheckpointError
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds, Iterate, Stepper
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


def run_trial(
    trial: Trial, *, device: str = "cpu", threads: int | None = None, progress: bool = False
) -> TrialResult:
    """Run a trial to its end, here and now.

    Args:
        trial: what to compute.
        device: a torch device.
        threads: CPU threads; None leaves torch's own number.
        progress: show steps, loss and the next threshold, in a terminal or a notebook.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    ongoing = OngoingTrial(trial, device=device, threads=threads)
    if not progress:
        ongoing.advance()
        return ongoing.result()
    # In a notebook its import looks for widgets, and warns where there are none.
    from tqdm.auto import tqdm

    eta = trial.learning_rate
    name = "gradient flow" if eta is None else f"GD at η = {eta:g}"
    # The steps until the end are not known: a bar would promise them.
    with tqdm(desc=name, unit=" steps") as bar:

        def show() -> bool:
            bar.update(ongoing.step - bar.n)
            epsilon = next(iter(ongoing.pending), None)
            bar.set_postfix(loss=ongoing.at.loss, epsilon=epsilon, refresh=False)
            return False

        ongoing.advance(show)
        show()
    return ongoing.result()


class OngoingTrial:
    """A trial in progress: advanced in slices, saved between them, and resumed.

    One that was saved and restored ends with the same bits as one that was not, on the same
    machine with the same number of threads. ``at`` is the iterate where it stands.

    Args:
        trial: what to compute.
        device: a torch device; everything the trial computes happens there.
        threads: CPU threads; None leaves torch's own number.
        ranks: the processes that compute it together, each with one of these for the same trial;
            None for this process alone.
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
        self.at = Iterate(self._theta0.clone())
        self.stepper = _stepper(trial, self._train)
        self._recorder = Recorder(trial, self._train, self._test, self._theta0)

    @property
    def finished(self) -> bool:
        """Whether every threshold has its row."""
        return not self.pending

    @property
    def step(self) -> int:
        """How many updates of θ were made."""
        return self.at.step

    @property
    def pending(self) -> tuple[float, ...]:
        """The loss thresholds that have no row yet."""
        return self._recorder.pending

    @property
    def trajectory(self) -> Sequence[Point]:
        """The points that were recorded so far, also those before a checkpoint."""
        return self._recorder.trajectory

    def result(self) -> TrialResult:
        """The rows of a finished trial.

        Raises:
            RuntimeError: the trial is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"trial {self.trial.trial_id} is at step {self.step}, not finished")
        initial = [self._theta0, *constants(self._train.module)]
        return TrialResult(
            self.trial,
            digest_of(b"".join(tensor.cpu().numpy().tobytes() for tensor in initial)),
            self.data_digest,
            tuple(self._recorder.crossings),
            tuple(self._recorder.trajectory),
        )

    def advance(self, until: Callable[[], bool] | None = None) -> bool:
        """Go on until the trial is finished, or until ``until()`` is true between two moves.

        Among several ranks, any may pause so while the others wait for it. They end together
        after the move where ``ranks.stop_agreed`` comes true. Returns whether the trial is
        finished.
        """
        with reproducible(self.threads):
            while not (self.finished or self.ranks.stop_agreed or (until is not None and until())):
                self.observe()
                if not self.finished:
                    self.move()
        return self.finished

    def observe(self) -> None:
        """Evaluate the loss where the trial stands, and record what this step calls for."""
        self.at = self.at.evaluated(self._train)
        wanted = self.stepper.wants_sharpness
        sharpness = self._recorder.observe(self.at, wants_sharpness=wanted)
        if sharpness is not None:
            self.stepper.see_sharpness(sharpness)

    def bounds(self) -> Bounds:
        """How far the trial may go before it must be observed again."""
        protocol = self.trial.protocol
        to_record = steps_to_record(self.step, protocol.trajectory_every)
        return Bounds(
            threshold=self.pending[0],
            divergence=self._recorder.divergence,
            steps=min(to_record, protocol.max_steps - self.step),
        )

    def move(self) -> None:
        """Move θ within the bounds."""
        self.at = self.stepper.move(self.at, self.bounds())

    def move_to(self, at: Iterate, gradients: int) -> None:
        """Stand at an evaluated iterate, for which so many gradients were computed elsewhere."""
        self.at = at
        self._train.gradients += gradients

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole.

        It is that of the trial, not of a rank: any number of ranks can continue from it.
        """
        checkpoints.save(
            path,
            Checkpoint(
                trial_id=self.trial.trial_id,
                at=self.at,
                gradients=self._train.gradients - self.at.is_evaluated,
                hvps=self._train.hvps,
                method=self.stepper.state(),
                recorded=self._recorder.state(),
            ),
        )

    def restore(self, path: Path) -> None:
        """Continue where :meth:`save` left a trial; a checkpoint that is refused changes nothing.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointError: it is damaged or belongs to another trial.
        """
        saved = checkpoints.load(path, self.trial.trial_id, like=self._theta0)
        if (saved.recorded.flow is None) != (self._recorder.flow is None):
            there = "no" if saved.recorded.flow is None else "a"
            raise CheckpointError(f"{path} holds {there} flow beside GD, unlike this trial")
        self.stepper.restore(saved.method)
        self._recorder.restore(saved.recorded)
        self.at = saved.at
        self._train.gradients, self._train.hvps = saved.gradients, saved.hvps


def _stepper(trial: Trial, objective: Objective) -> Stepper:
    if trial.learning_rate is not None:
        return GradientDescent(objective, trial.learning_rate)
    return METHODS[trial.protocol.flow_method](objective)
