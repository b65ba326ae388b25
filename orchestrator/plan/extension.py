"""A run state for a sweep that has changed, and what carries over from another state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.layout import Layout
from orchestrator.plan.placing import with_parents
from orchestrator.plan.run_state import OF_TRIALS, RunState
from orchestrator.plan.settled_trials import SettledTrials, as_number, newest
from orchestrator.plan.states import Result
from orchestrator.sweep import Column


def extended(state: RunState, columns: Sequence[Column]) -> RunState:
    """The state when the sweep has become these columns: more of them, or with other learning
    rates or handling.

    What is known of trials stays known; what is of no column any more is kept apart.
    """
    fresh = dataclasses.replace(RunState.of(columns), history=state.history)
    plans, finished = list(fresh.plans), fresh.finished.copy()
    arrays = {name: getattr(fresh, name).copy() for name in OF_TRIALS}
    known = [state.unplaced]
    for i, column in enumerate(state.columns):
        j = fresh.layout.index.get(column.column_id)
        if (
            j is None
            or fresh.columns[j].etas != column.etas
            or _has_other_seeds(state, i, fresh, j)
        ):
            known.append(_settled_of(state, i))
            continue
        plans[j] = dataclasses.replace(state.plans[i], column=fresh.columns[j])
        finished[j] = state.finished[i]
        for name in OF_TRIALS:
            arrays[name][fresh.layout.slot(j)] = getattr(state, name)[state.layout.slot(i)]
    for group in dict.fromkeys(fresh.layout.flow_sharers.values()):
        _share_flow(fresh.layout, group, plans, arrays)
    with_parents(fresh.layout, plans)
    moved = dataclasses.replace(fresh, plans=tuple(plans), finished=finished, **arrays)
    moved = moved.settled(newest(known)).restated(range(len(plans)))
    return with_work_of(moved, state)


def _has_other_seeds(state: RunState, i: int, fresh: RunState, j: int) -> bool:
    """Whether a column refines its rates with other seeds than before."""
    before, now = (
        {one.columns[k].column_id for k in one.layout.seeds.get(place, ())}
        for one, place in ((state, i), (fresh, j))
    )
    return before != now


def _share_flow(
    layout: Layout,
    group: Sequence[int],
    plans: list[ColumnPlan],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Give the flow that some columns share to all of them, and its number to the first."""
    flow = next((plans[i].flow for i in group if plans[i].flow is not None), None)
    if flow is None:
        return
    for i in group:
        if plans[i].flow is None:
            plans[i] = dataclasses.replace(plans[i], flow=flow)
    first, *others = layout.first[list(group)].tolist()
    for number in others:
        if arrays["results"][first] == Result.NONE != arrays["results"][number]:
            for values in arrays.values():
                values[first] = values[number]
        for values in arrays.values():
            values[number] = 0


def with_work_of(state: RunState, other: RunState) -> RunState:
    """A state with what another one knows of leases and running attempts, and since when."""
    history = dataclasses.replace(other.history, attempts=state.history.attempts)
    index = state.layout.index
    leases = ((other.columns[i].column_id, lease) for i, lease in other.leases.items())
    handed_out = {}
    for number, attempt in other.handed_out.items():
        here = state.number(*other.named(number))
        if here is not None and state.results[here] == Result.NONE:
            handed_out[here] = attempt
    moved = dataclasses.replace(
        state,
        history=history,
        leases={index[name]: lease for name, lease in leases if name in index},
        handed_out=handed_out,
    )
    running = ((*other.named(number), attempt) for number, attempt in other.running.items())
    return moved.working(running).restated(moved.columns_of(history.attempts))


def _settled_of(state: RunState, i: int) -> SettledTrials:
    """What is settled of a column, as if it were read from the tables."""
    plan, its = state.plans[i], state.layout.slot(i)
    places = np.flatnonzero(state.results[its] != Result.NONE)
    names, flow = plan.names, plan.flow
    return SettledTrials(
        trial=names[places],
        column=np.full(len(places), as_number(plan.column.column_id), dtype=np.uint64),
        is_flow=places == 0,
        eta=np.array([np.nan, *plan.learning_rates])[places],
        attempt=state.attempts[its][places],
        diverged=state.results[its][places] == Result.DIVERGED,
        no_start=state.results[its][places] == Result.NO_START,
        reached=state.reached[its][places],
        sharpness=state.sharpness[its][places],
        test_loss=state.test_loss[its][places],
        seconds=state.seconds[its][places],
        finished_at=np.full(len(places), state.finished[i]),
        digested=np.ones(len(places), dtype=bool),
        flows={} if flow is None else {int(names[0]): flow},
    )
