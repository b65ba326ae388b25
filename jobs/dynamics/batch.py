"""Packs: GD trials of one column, which differ in η only, as one batched computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from jobs.dynamics.descent import GradientDescent
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.trial import OngoingTrial

STRETCH = 32
"""Steps at most between two points at which a pack can be stopped and its runs saved."""

MOST_BYTES = 16_000_000
"""Parameters × samples × bytes of a number up to which a pack is faster: beyond, the products of
one run keep a CPU busy, and stacking them saves little (``benchmarks/packing.py``). On a GPU packs
would pay far beyond (``benchmarks/README.md``); no trial is packed there."""

MOST_RUNS, TINY_BYTES, MOST_TINY_RUNS = 16, 1_000_000, 64
"""How many runs a pack is worth: the second number where parameters × samples × bytes are at most
``TINY_BYTES``, and there is nothing but fixed costs to share."""


class BatchedDescent:
    """Runs of GD that go on together; each ends at its own step, and then leaves.

    The rows of a run are those that it would have found alone, within rounding, and its counts of
    evaluations are the same. On one CPU thread their bits depend neither on the other runs of the
    pack nor on interruptions, as long as every step is one of a pack. A run that diverges disturbs
    no other.

    A pack of K runs takes K times the memory of one.

    Args:
        runs: GD trials of one column, new or restored, each in this process alone, all on one
            device with the same number of threads. The losses are looked at after as many steps as
            one of them alone would make between two looks.

    Raises:
        ValueError: the runs cannot go together.
    """

    def __init__(self, runs: Sequence[OngoingTrial]) -> None:
        _refuse_unlike(runs)
        self._running = list(runs)
        first = _descent(runs[0])
        self._objective, self._block, self._threads = first.objective, first.block, runs[0].threads
        with reproducible(self._threads):
            self._evaluate()

    @property
    def running(self) -> tuple[OngoingTrial, ...]:
        """The runs that have not left, in the order in which they were given."""
        return tuple(self._running)

    def advance(self, until: Callable[[], bool] | None = None) -> list[OngoingTrial]:
        """Go on until every run is finished, or until ``until()`` is true at a stretch's edge.

        Returns the runs that finished meanwhile, in that order. The others can be saved, advanced
        alone, or put into another pack.
        """
        finished: list[OngoingTrial] = []
        with reproducible(self._threads):
            while self._running and not (until is not None and until()):
                for run in self._running:
                    if not run.finished:
                        run.look()
                finished += [run for run in self._running if run.finished]
                self._running = [run for run in self._running if not run.finished]
                if self._running:
                    self._go()
        return finished

    def _evaluate(self) -> None:
        """Loss and gradient where the runs stand, by the pack's arithmetic also where the run had
        evaluated them itself: so that an interruption does not change a bit.
        """
        thetas = torch.stack([run.theta for run in self._running])
        losses, gradients = stacked_gradients(self._objective, thetas)
        for run, loss, gradient in zip(self._running, losses.tolist(), gradients, strict=True):
            method = _descent(run)
            new = 0 if method.evaluated else 1
            method.take(method.previous, loss, gradient.clone(), new)

    def _go(self) -> None:
        """A stretch of steps, ended by the first block in which a run broke its bounds.

        A run that did so before the last step of that block goes back to its start, and comes
        forward alone to the very step.
        """
        runs = self._running
        bounds = [run.bounds() for run in runs]
        longest = min(STRETCH, *(bound.steps for bound in bounds))
        rates = [[_descent(run).learning_rate] for run in runs]
        eta = torch.tensor(rates, dtype=runs[0].theta.dtype, device=runs[0].theta.device)
        done, start = 0, _Points.of(runs)
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
        for row, run in enumerate(runs):
            if not any(of_step[row] for of_step in broken[:-1]):
                end.hand(row, run, losses[-1][row], done + steps)
                continue
            if done:
                start.hand(row, run, float(start.losses[row]), done)
            moved = run.method.move(run.theta, run.bounds())
            run.go_to(moved.theta, moved.steps, moved.time)

    def _descend(
        self, points: _Points, eta: Tensor, steps: int
    ) -> tuple[_Points, list[list[float]]]:
        """The points so many steps later, and the losses after each step, read all at once."""
        losses = []
        for _ in range(steps):
            thetas = points.thetas - eta * points.gradients
            points = _Points(points.thetas, thetas, *stacked_gradients(self._objective, thetas))
            losses.append(points.losses)
        return points, torch.stack(losses).tolist()


def pays(parameters: int, samples: int, dtype: str) -> bool:
    """Whether GD trials of a fully connected network go faster in packs of 4 to 16 runs.

    Parameters × samples are the multiply-adds of a forward pass. The rule knows no timings and not
    the number of runs: every repetition, on whatever machine, packs the same trials. In larger
    packs the smallest problems gain more still, and those near the bound less, or nothing.
    """
    return _bytes(parameters, samples, dtype) <= MOST_BYTES


def most_runs(parameters: int, samples: int, dtype: str) -> int:
    """How many runs a pack holds at most, where packs pay."""
    tiny = _bytes(parameters, samples, dtype) <= TINY_BYTES
    return MOST_TINY_RUNS if tiny else MOST_RUNS


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
class _Points:
    """Where runs stand, a row for each: θ and the iterate before it, L(θ) and ∇L(θ)."""

    previous: Tensor
    thetas: Tensor
    losses: Tensor
    gradients: Tensor

    @classmethod
    def of(cls, runs: Sequence[OngoingTrial]) -> _Points:
        """The points where runs stand that have been looked at."""
        thetas = torch.stack([run.theta for run in runs])
        gradients = torch.stack([_descent(run).gradient for run in runs])
        losses = thetas.new_tensor([run.loss for run in runs])
        return cls(thetas, thetas, losses, gradients)

    def hand(self, row: int, run: OngoingTrial, loss: float, steps: int) -> None:
        """Let a run stand where its row does, so many steps further.

        It gets copies: a view would keep the rows of all runs in memory.
        """
        method = _descent(run)
        previous, gradient = self.previous[row].clone(), self.gradients[row].clone()
        method.take(previous, loss, gradient, steps)
        run.go_to(self.thetas[row].clone(), steps, steps * method.learning_rate)


def _descent(run: OngoingTrial) -> GradientDescent:
    """The method of a run, which must be GD."""
    if not isinstance(run.method, GradientDescent):
        raise ValueError(f"trial {run.trial.trial_id} is a flow; a pack takes GD trials only")
    return run.method


def _refuse_unlike(runs: Sequence[OngoingTrial]) -> None:
    """Make sure that runs can go together.

    Raises:
        ValueError: they cannot; names the trials.
    """
    if not runs:
        raise ValueError("a pack of no runs; it needs at least one")
    first, seen = runs[0], set()
    for run in runs:
        name = run.trial.trial_id
        _descent(run)
        if run.ranks.size != 1:
            raise ValueError(
                f"trial {name} is shared by {run.ranks.size} ranks; a pack takes runs of one"
            )
        if name in seen:
            raise ValueError(f"trial {name} is there twice; a pack takes each trial once")
        seen.add(name)
        if run.trial.column_id != first.trial.column_id:
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are of different columns; those of a "
                "pack differ in their learning rate only"
            )
        if (run.theta.device, run.threads) != (first.theta.device, first.threads):
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are on {first.theta.device} and "
                f"{run.theta.device}, with {first.threads} and {run.threads} threads; those of a "
                "pack share both"
            )
