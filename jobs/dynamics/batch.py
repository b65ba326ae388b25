"""Batched descent: GD trials of one column, which differ in η only, as one computation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.iterate import Iterate
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.trial import OngoingTrial

STRETCH = 32
"""Steps at most between two points at which a batch can be stopped and its trials saved."""

MOST_BYTES = 16_000_000
"""Parameters × samples × bytes of a number up to which a batch is faster: beyond, the products of
one trial keep a CPU busy, and stacking them saves little (``benchmarks/packing.py``). On a GPU
batches would pay far beyond (``benchmarks/README.md``); no trial is batched there."""

MOST_TRIALS, TINY_BYTES, MOST_TINY_TRIALS = 16, 1_000_000, 64
"""How many trials a batch is worth: the second number where parameters × samples × bytes are at
most ``TINY_BYTES``, and there is nothing but fixed costs to share."""


class BatchedDescent:
    """GD at several learning rates of one column, as one computation; each trial ends at its own
    step, and then leaves.

    The rows of a trial are those that it would have found alone, within rounding, and its counts of
    evaluations are the same. On one CPU thread their bits depend neither on the other trials of the
    batch nor on interruptions, as long as every step is one of a batch. A trial that diverges
    disturbs no other.

    A batch of K trials takes K times the memory of one.

    Args:
        trials: GD trials of one column, new or restored, each in this process alone, all on one
            device with the same number of threads. The losses are read after as many steps as one
            of them alone would make between two readings.

    Raises:
        ValueError: the trials cannot be batched.
    """

    def __init__(self, trials: Sequence[OngoingTrial]) -> None:
        _refuse_unlike(trials)
        self._running, self._threads = list(trials), trials[0].threads
        first = _descent(trials[0])
        self._objective, self._block = first.objective, first.block
        with reproducible(self._threads):
            self._evaluate()

    @property
    def running(self) -> tuple[OngoingTrial, ...]:
        """The trials that have not left, in the order in which they were given."""
        return tuple(self._running)

    def advance(self, until: Callable[[], bool] | None = None) -> list[OngoingTrial]:
        """Go on until every trial is finished, or until ``until()`` is true between two stretches.

        Returns the trials that finished meanwhile, in that order. The others can be saved, advanced
        alone, or put into another batch.
        """
        finished: list[OngoingTrial] = []
        with reproducible(self._threads):
            while self._running and not (until is not None and until()):
                for trial in self._running:
                    if not trial.finished:
                        trial.observe()
                finished += [trial for trial in self._running if trial.finished]
                self._running = [trial for trial in self._running if not trial.finished]
                if self._running:
                    self._move()
        return finished

    def _evaluate(self) -> None:
        """Loss and gradient where the trials stand, by the batch's arithmetic also where the trial
        had evaluated them itself: so that an interruption does not change a bit.
        """
        thetas = torch.stack([trial.at.theta for trial in self._running])
        losses, gradients = stacked_gradients(self._objective, thetas)
        for trial, loss, gradient in zip(self._running, losses.tolist(), gradients, strict=True):
            at = dataclasses.replace(trial.at, loss=loss, gradient=gradient.clone())
            trial.move_to(at, gradients=0 if trial.at.is_evaluated else 1)

    def _move(self) -> None:
        """A stretch of steps, ended by the first block in which a trial broke its bounds.

        A trial that did so before the last step of that block goes back to its start, and comes
        forward alone to the very step.
        """
        trials = self._running
        bounds = [trial.bounds() for trial in trials]
        longest = min(STRETCH, *(bound.steps for bound in bounds))
        start = _Iterates.of(trials)
        eta = start.thetas.new_tensor([[_descent(trial).learning_rate] for trial in trials])
        done = 0
        while True:
            steps = min(self._block, longest - done)
            end, losses = self._descend(start, eta, steps)
            broken = [
                [bound.broken_by(loss) for bound, loss in zip(bounds, of_step, strict=True)]
                for of_step in losses
            ]
            if done + steps == longest or any(any(of_step) for of_step in broken):
                break
            done, start = done + steps, end
        for row, trial in enumerate(trials):
            if not any(of_step[row] for of_step in broken[:-1]):
                end.hand(row, trial, losses[-1][row], done + steps)
                continue
            if done:
                start.hand(row, trial, float(start.losses[row]), done)
            trial.move()

    def _descend(
        self, points: _Iterates, eta: Tensor, steps: int
    ) -> tuple[_Iterates, list[list[float]]]:
        """The iterates ``steps`` later, and the losses after each step, read all at once."""
        losses = []
        for _ in range(steps):
            thetas = points.thetas - eta * points.gradients
            points = _Iterates(points.thetas, thetas, *stacked_gradients(self._objective, thetas))
            losses.append(points.losses)
        return points, torch.stack(losses).tolist()


def pays(parameters: int, samples: int, dtype: str) -> bool:
    """Whether GD trials of a fully connected network go faster in batches of 4 to 16.

    Parameters × samples are the multiply-adds of a forward pass. The rule knows no timings and not
    the number of trials: every repetition, on whatever machine, batches the same trials. In larger
    batches the smallest problems gain more still, and those near the bound less, or nothing.
    """
    return _bytes(parameters, samples, dtype) <= MOST_BYTES


def most_trials(parameters: int, samples: int, dtype: str) -> int:
    """How many trials a batch holds at most, where batches pay."""
    tiny = _bytes(parameters, samples, dtype) <= TINY_BYTES
    return MOST_TINY_TRIALS if tiny else MOST_TRIALS


def _bytes(parameters: int, samples: int, dtype: str) -> int:
    """What both bounds are about: parameters × samples × bytes of a number."""
    width: int = getattr(torch, dtype).itemsize
    return parameters * samples * width


def stacked_gradients(objective: Objective, thetas: Tensor) -> tuple[Tensor, Tensor]:
    """L, shape (K,), and ∇L, shape (K, P), at each row of a matrix of shape (K, P).

    The evaluations are not counted. The chunks are those of a single θ.
    """
    losses, gradients = thetas.new_zeros(len(thetas)), torch.zeros_like(thetas)
    for inputs, labels in objective.split():
        leaf = thetas.detach().requires_grad_()

        def loss(theta: Tensor, inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            return objective.partial_loss(objective.layout.named(theta), inputs, labels)

        of_chunk = vmap(loss)(leaf)
        gradients += torch.autograd.grad(of_chunk.sum(), leaf)[0]
        losses += of_chunk.detach()
    return losses, gradients


@dataclass(frozen=True)
class _Iterates:
    """Where trials stand, a row for each: θ and the iterate before it, L(θ) and ∇L(θ)."""

    previous: Tensor
    thetas: Tensor
    losses: Tensor
    gradients: Tensor

    @classmethod
    def of(cls, trials: Sequence[OngoingTrial]) -> _Iterates:
        """Where trials stand that have been observed."""
        thetas = torch.stack([trial.at.theta for trial in trials])
        gradients = torch.stack([trial.at.gradient for trial in trials])
        return cls(thetas, thetas, thetas.new_tensor([t.at.loss for t in trials]), gradients)

    def hand(self, row: int, trial: OngoingTrial, loss: float, steps: int) -> None:
        """Let a trial stand where its row does, so many steps further.

        It gets copies: a view would keep the rows of all trials in memory.
        """
        step = trial.at.step + steps
        at = Iterate(
            self.thetas[row].clone(),
            step,
            _descent(trial).time_at(step),
            self.previous[row].clone(),
            loss,
            self.gradients[row].clone(),
        )
        trial.move_to(at, gradients=steps)


def _descent(trial: OngoingTrial) -> GradientDescent:
    """What moves a trial, which must be GD."""
    if not isinstance(trial.stepper, GradientDescent):
        raise ValueError(f"trial {trial.trial.trial_id} is a flow; a batch takes GD trials only")
    return trial.stepper


def _refuse_unlike(trials: Sequence[OngoingTrial]) -> None:
    """Make sure that trials can be batched.

    Raises:
        ValueError: they cannot; names the trials.
    """
    if not trials:
        raise ValueError("a batch of no trials; it needs at least one")
    first, seen = trials[0], set()
    for one in trials:
        name = one.trial.trial_id
        _descent(one)
        if one.ranks.size != 1:
            raise ValueError(
                f"trial {name} is shared by {one.ranks.size} ranks; a batch takes trials of one"
            )
        if name in seen:
            raise ValueError(f"trial {name} is there twice; a batch takes each trial once")
        seen.add(name)
        if one.trial.column_id != first.trial.column_id:
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are of different columns; those of a "
                "batch differ in their learning rate only"
            )
        if (one.at.theta.device, one.threads) != (first.at.theta.device, first.threads):
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are on {first.at.theta.device} and "
                f"{one.at.theta.device}, with {first.threads} and {one.threads} threads; those of "
                "a batch share both"
            )
