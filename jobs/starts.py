"""The states at which trials begin: found by running their parents."""

from __future__ import annotations

from typing import Any

from jobs.kept_states import KeptState
from jobs.ongoing import OngoingTrial
from jobs.records import TrialResult
from jobs.spec import Start, StateName, Trial


class NoStartError(RuntimeError):
    """A trial that never reached the state at which another one was to begin; says why."""


def state_of(
    start: Start, *, device: str = "cpu", threads: int | None = None, memory: int | None = None
) -> KeptState:
    """The state of a parent, computed here and now, from θ0 on or from a start of its own.

    The parent goes no further than the state.

    Args:
        start: which state of which trial.
        device, threads, memory: as of :class:`jobs.ongoing.OngoingTrial`.

    Raises:
        NoStartError: the parent never reaches the state, or has no start itself.
    """
    found: list[KeptState] = []
    parent = started(
        start.parent,
        device=device,
        threads=threads,
        memory=memory,
        starts=(start.state,),
        keeper=found.append,
    )
    parent.advance(lambda: bool(found))
    if not found:
        raise NoStartError(why_not_reached(start.state, parent.result()))
    return found[0]


def started(trial: Trial, **how: Any) -> OngoingTrial:
    """A new run of a trial, at θ0 or at the state of its parent, which is computed.

    Args:
        trial: what to compute.
        how: the keywords of :class:`jobs.ongoing.OngoingTrial` but ``start``.

    Raises:
        NoStartError: its parent never reaches the state.
    """
    if trial.start is None:
        return OngoingTrial(trial, **how)
    of_parent = {name: how[name] for name in ("device", "threads", "memory") if name in how}
    return OngoingTrial(trial, start=state_of(trial.start, **of_parent), **how)


def why_not_reached(state: StateName, parent: TrialResult) -> str:
    """Why a trial that has ended has no such state."""
    last = parent.crossings[-1]
    ends = {
        "reached": f"reached its last threshold after {last.steps} steps",
        "max_steps": f"stopped at its largest number of steps, {last.steps}",
        "diverged": f"diverged after {last.steps} steps",
        "no_start": "has no start itself",
    }
    return f"trial {parent.trial.trial_id} {ends[last.status]} and was never at {state}"
