"""Trials in progress, one or several as one computation: the loop of descent and flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jobs import checkpoint as checkpoints
from jobs import datasets
from jobs.checkpoint import Checkpoint, CheckpointError
from jobs.curvature.ritz import ExtremalEigenvalues
from jobs.curvature.sharpness import SharpnessMeter, measure_together
from jobs.dynamics.central import CentralFlow
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.flows import METHODS
from jobs.dynamics.iterate import Bounds, Iterate, Stepper
from jobs.dynamics.moves import first_moments, preconditioner
from jobs.dynamics.schedule import steps_to_record
from jobs.kept_states import NOTHING, Keep, KeptState, Receiver
from jobs.numerics import reproducible
from jobs.objective import Objective, gradients_at
from jobs.parameters import constants, stacked
from jobs.problem import pose
from jobs.process_group import Alone, Ranks
from jobs.recorder import Due, Observed, Recorder
from jobs.records import Point, TrialResult
from jobs.spec import StateName, Trial
from jobs.spec.values import digest_of

Spectrum = tuple[int, ExtremalEigenvalues]

MOST_STEPS = 32
"""Between two looks at a trial, at which a flow that it is compared with keeps up with it."""

ROWS_TOGETHER = 8
"""Trials whose rows are due before these are measured, but a quarter of a batch at most: each comes
to its threshold at a step of its own, and several are measured in little more time than one."""


class OngoingTrial:
    """A trial in progress: advanced in slices, saved between them, and resumed.

    One that was saved and restored ends with the same bits as one that was not, on the same
    machine with the same number of threads. ``at`` is the iterate where it stands, ``objective`` L,
    ``test`` the test loss, ``stepper`` what moves it, and ``recorder`` what observes it.

    Args:
        trial: what to compute.
        device: a torch device; everything the trial computes happens there.
        threads: CPU threads; None leaves torch's own number.
        ranks: the processes that compute it together, each with one of these for the same trial;
            None for this process alone.
        memory: bytes that this process may use for it; None leaves the choice to
            :func:`jobs.curvature.memory.default_budget`.
        keep: which states are kept; of GD only also those after given steps.
        starts: states at which other trials begin, which are kept too.
        keeper: takes each of them when it is reached; a trial that is resumed from before may reach
            one again. All ranks have the same ``keep`` and ``starts``, and one of them a keeper.
        start: the state at which a trial with a ``start`` begins; None where it has none.

    Raises:
        DatasetError: the dataset is not there, or too small.
        PlacementError: the device is not there, or there are more ranks than samples.
        MemoryBudgetError: not even one sample fits into the memory.
        ValueError: the trial has a start, and no state is given, or the other way round.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        device: str = "cpu",
        threads: int | None = None,
        ranks: Ranks | None = None,
        memory: int | None = None,
        keep: Keep = NOTHING,
        starts: Sequence[StateName] = (),
        keeper: Receiver | None = None,
        start: KeptState | None = None,
    ) -> None:
        if (trial.start is None) != (start is None):
            expected = "none" if trial.start is None else "that of its parent, jobs.starts.state_of"
            raise ValueError(f"trial {trial.trial_id}: the state at which it begins: {expected}")
        self.trial = trial
        self._keep, self._starts, self._keeper = keep, starts, keeper
        self._averaged = max((state.average for state in starts), default=1)
        self.ranks = ranks or Alone()
        self.ranks.wants_stop = self.ranks.stop_agreed = False
        self.threads = threads
        with reproducible(threads):
            self.objective, self.test, self._theta0 = pose(
                trial.problem, device, self.ranks, memory
            )
        self.data_digest = datasets.load(trial.problem).digest
        theta = self._theta0.clone() if start is None else start.theta.to(self._theta0)
        self.at = Iterate(theta)
        self._recent = [theta]
        self._start_step = None if start is None else start.step
        self.stepper = _stepper(trial, self.objective)
        self.recorder = Recorder(trial, self.objective, self.test, self._theta0)

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
        return self.recorder.pending

    @property
    def trajectory(self) -> Sequence[Point]:
        """The points that were recorded so far, also those before a checkpoint."""
        return self.recorder.trajectory

    def result(self) -> TrialResult:
        """The rows of a finished trial.

        Raises:
            RuntimeError: the trial is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"trial {self.trial.trial_id} is at step {self.step}, not finished")
        initial = [self._theta0, *constants(self.objective.module)]
        return TrialResult(
            self.trial,
            digest_of(b"".join(tensor.cpu().numpy().tobytes() for tensor in initial)),
            self.data_digest,
            tuple(self.recorder.crossings),
            tuple(self.recorder.trajectory),
            tuple(self.recorder.spectra),
            self._start_step,
        )

    def advance(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Go on until the trial is finished, or until ``until()`` is true: :func:`advance`.

        Among several ranks, any may pause so while the others wait for it. They end together
        after the move where ``ranks.stop_agreed`` comes true. Returns whether the trial is
        finished.
        """
        if not self.finished:
            advance([self], until)
        return self.finished

    def begin(self) -> None:
        """Find L(θ0), which bounds are relative to, where the trial does not begin there.

        All ranks find it together, so that none does when it makes its run.
        """
        if self.trial.start is not None and not self.recorder.has_begun:
            self.recorder.begin(self.objective.evaluate(self._theta0).loss)

    def evaluated(self, loss: float, gradient: Tensor) -> None:
        """Take in L and ∇L where the trial stands."""
        self.at = dataclasses.replace(self.at, loss=loss, gradient=gradient)

    def due(self) -> Due:
        """What the step calls for at which the trial stands, evaluated."""
        return self.recorder.due(self.at, wants_sharpness=self.stepper.wants_sharpness)

    def record(self, due: Due, found: Observed) -> None:
        """Record what is due, with what was found: :meth:`jobs.recorder.Recorder.record`."""
        self.recorder.record(due, found)
        after_steps = self.trial.kind == "gd" and self.step in self._keep.steps
        if self._keeper is not None and (after_steps or (self._keep.thresholds and due.crossed)):
            self._keeper(KeptState(self.at.theta, self.step, self.at.time))
        if self._keeper is not None:
            for state in self._starts:
                if self._is_at(state, due):
                    recent = self._recent[-state.average :]
                    theta = recent[0] if len(recent) == 1 else torch.stack(recent).mean(0)
                    self._keeper(KeptState(theta, self.step, self.at.time, state))
        if found.spectrum is not None:
            self.stepper.see_sharpness(found.spectrum.sharpness)

    def _is_at(self, state: StateName, due: Due) -> bool:
        """Whether a state at which another trial begins is this one."""
        if state.epsilon is not None:
            return state.epsilon in due.crossed
        if state.chi is not None:
            return due.recorded and self.recorder.reaches(state.chi)
        return state.step == self.step

    @property
    def preconditioner_root(self) -> Tensor:
        """The diagonal of P⁻¹ᐟ² in the step from where an adaptive trial stands, shape (P,)."""
        optimizer, at = self.trial.optimizer, self.at
        moments = at.moments or first_moments(optimizer, at.theta)
        diagonal = preconditioner(optimizer, at.step, at.gradient, moments)
        assert diagonal is not None
        return diagonal.rsqrt()

    def bounds(self) -> Bounds:
        """How far the trial may go before it must be observed again."""
        protocol = self.trial.protocol
        to_record = steps_to_record(
            self.step,
            protocol.trajectory_every,
            time=self.at.time,
            step_time=self.trial.step_time,
        )
        return Bounds(
            threshold=self.pending[0],
            divergence=self.recorder.divergence,
            steps=min(to_record, self.trial.most_steps - self.step, MOST_STEPS, self._to_keep()),
        )

    def _to_keep(self) -> int:
        """Steps to the next state of GD that is kept for its number; one by one for a mean."""
        if self.trial.kind != "gd":
            return MOST_STEPS
        if self._averaged > 1:
            return 1
        later = [state.step for state in self._starts if (state.step or 0) > self.step]
        later.append(self._keep.next_after(self.step))
        return min((step - self.step for step in later if step is not None), default=MOST_STEPS)

    def moved(self, at: Iterate) -> None:
        """Stand at another iterate."""
        self.at = at
        self._recent = [*self._recent, at.theta][-self._averaged :]

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole.

        It is that of the trial, not of a rank: any number of ranks can continue from it.
        """
        checkpoints.save(
            path,
            Checkpoint(
                trial_id=self.trial.trial_id,
                at=self.at,
                gradients=self.objective.gradients - self.at.is_evaluated,
                hvps=self.objective.hvps,
                third_derivatives=self.objective.third_derivatives,
                method=self.stepper.state(),
                vectors=self.stepper.vectors,
                recorded=self.recorder.state(),
                recent=torch.stack(self._recent) if self._averaged > 1 else None,
            ),
        )

    def restore(self, path: Path) -> None:
        """Continue where :meth:`save` left a trial; a checkpoint that is refused changes nothing.

        Raises:
            FileNotFoundError: there is no checkpoint.
            CheckpointError: it is damaged or belongs to another trial.
        """
        saved = checkpoints.load(path, self.trial.trial_id, like=self._theta0)
        if (saved.recorded.flow is None) != (self.recorder.flow is None):
            there = "no" if saved.recorded.flow is None else "a"
            raise CheckpointError(f"{path} holds {there} flow beside GD, unlike this trial")
        self.stepper.restore(saved.method, saved.vectors)
        self.recorder.restore(saved.recorded)
        self.at = saved.at
        self._recent = [saved.at.theta] if saved.recent is None else list(saved.recent)
        self.objective.count_from(
            gradients=saved.gradients,
            hvps=saved.hvps,
            third_derivatives=saved.third_derivatives,
        )


def _stepper(trial: Trial, objective: Objective) -> Stepper:
    if trial.learning_rate is None:
        return METHODS[trial.protocol.flow_method](objective)
    if trial.kind == "central":
        return CentralFlow(objective, trial.learning_rate, trial.protocol.sharpness_rtol)
    return GradientDescent(objective, trial.learning_rate, trial.optimizer)


def advance(trials: Sequence[OngoingTrial], until: Callable[[], bool] = lambda: False) -> None:
    """Go on with trials as one computation, until all are finished or ``until()`` is true.

    They differ in η, seed, initial scale and start only; each ends at its own step. The rows of a
    trial are those that it would have found alone, within rounding, and its counts of evaluations
    are the same; on one CPU thread, and for a network with formulas (:mod:`jobs.closed_form`), they
    have the same bits. A trial that diverges disturbs no other. K trials take K times the memory of
    one.

    Afterwards each may be saved, or go on alone or with others.

    Args:
        trials: of one ``batch_key``, new or restored, on one device with the same number of
            threads. Several must each be in this process alone. The losses of GD are read after as
            many steps as one of them alone would make between two readings.
        until: asked between two moves. A move of one GD trial ends when its losses are read; that
            of several asks then, and goes on as far as none must be observed. A trial of which a
            row is due may wait, until the next call at the longest, for its row to be measured
            with those of others.

    Raises:
        ValueError: the trials cannot go together.
    """
    _refuse_unlike(trials)
    ranks, running = trials[0].ranks, [trial for trial in trials if not trial.finished]
    moving, waiting, most = running, list[tuple[OngoingTrial, Due]](), 0

    def move_ends() -> bool:
        return len(moving) == 1 or until()

    with reproducible(trials[0].threads):
        for trial in running:
            trial.begin()
        while running and not (ranks.stop_agreed or until()):
            _evaluate([trial for trial in moving if not trial.at.is_evaluated])
            dues = [(trial, trial.due()) for trial in moving]
            _observe([(trial, due) for trial, due in dues if not due.of_row])
            waiting += [(trial, due) for trial, due in dues if due.of_row]
            running = [trial for trial in running if not trial.finished]
            if len(waiting) >= min(most, len(running)):
                _observe(waiting)
                waiting, running = [], [trial for trial in running if not trial.finished]
            most = min(ROWS_TOGETHER, len(trials) // 4)
            wait = {id(trial) for trial, _ in waiting}
            moving = [trial for trial in running if id(trial) not in wait]
            if moving:
                ends = moving[0].stepper.move_together(
                    [(trial.stepper, trial.at, trial.bounds()) for trial in moving], move_ends
                )
                for trial, end in zip(moving, ends, strict=True):
                    trial.moved(end)


def _evaluate(trials: Sequence[OngoingTrial]) -> None:
    """Find loss and gradient where new and restored trials stand."""
    if not trials:
        return
    found = gradients_at([one.objective for one in trials], [one.at.theta for one in trials])
    for trial, (loss, gradient) in zip(trials, found, strict=True):
        trial.evaluated(loss, gradient)


def _observe(dues: Sequence[tuple[OngoingTrial, Due]]) -> None:
    """Record what each trial calls for where it stands: S and test losses of all at once."""
    recorders = [trial.recorder for trial, _ in dues]
    thetas = [trial.at.theta for trial, _ in dues]

    def measured(
        rows: Sequence[int],
        points: Sequence[Tensor],
        meters: Sequence[SharpnessMeter] | None = None,
        **how: Any,
    ) -> Iterator[Spectrum]:
        if rows:
            meters = meters or [recorders[row].meter for row in rows]
            yield from zip(rows, measure_together(meters, stacked(points), **how), strict=True)

    spectra: dict[int, ExtremalEigenvalues] = {}
    middles: dict[int, ExtremalEigenvalues] = {}
    preconditioned: dict[int, ExtremalEigenvalues] = {}
    for of_row in (False, True):
        rows = [row for row, (_, due) in enumerate(dues) if due.measured and due.of_row == of_row]
        at = [thetas[row] for row in rows]
        spectra |= measured(rows, at, ends="both" if of_row else "dominant", audit=of_row)
        if rows and dues[0][0].trial.optimizer.is_adaptive:
            scales = stacked([dues[row][0].preconditioner_root for row in rows])
            meters = [recorders[row].preconditioned for row in rows]
            preconditioned |= measured(
                rows, at, meters, ends="dominant", audit=of_row, scales=scales
            )
        if of_row:
            at_middle = {row: recorders[row].middle for row in rows}
            known = {row: middle for row, middle in at_middle.items() if middle is not None}
            middles |= measured(list(known), list(known.values()), ends="dominant", audit=True)
    losses: dict[int, float] = {}
    if rows := [row for row, (_, due) in enumerate(dues) if due.recorded]:
        of_test = dues[0][0].test.stacked_losses(stacked([thetas[row] for row in rows]))
        losses = dict(zip(rows, of_test.tolist(), strict=True))
    for row, (trial, due) in enumerate(dues):
        found = Observed(
            spectra.get(row), middles.get(row), losses.get(row), preconditioned.get(row)
        )
        trial.record(due, found)


def _refuse_unlike(trials: Sequence[OngoingTrial]) -> None:
    """Make sure that trials can go together.

    Raises:
        ValueError: they cannot; names the trials.
    """
    if not trials:
        raise ValueError("no trials to advance; there must be at least one")
    if len(trials) == 1:
        return
    first, seen = trials[0], set()
    for one in trials:
        name = one.trial.trial_id
        if one.ranks.size != 1:
            raise ValueError(
                f"trial {name} is shared by {one.ranks.size} ranks; a batch takes trials of one"
            )
        if name in seen:
            raise ValueError(f"trial {name} is there twice; a batch takes each trial once")
        seen.add(name)
        if (one.trial.kind, one.trial.batch_key) != (first.trial.kind, first.trial.batch_key):
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are of different kinds, problems or "
                "protocols; those of a batch differ in learning rate, seed and initial scale only"
            )
        if (one.at.theta.device, one.threads) != (first.at.theta.device, first.threads):
            raise ValueError(
                f"trials {first.trial.trial_id} and {name} are on {first.at.theta.device} and "
                f"{one.at.theta.device}, with {first.threads} and {one.threads} threads; those of "
                "a batch share both"
            )
