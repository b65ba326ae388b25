"""The rounds by which the columns of a run state refine their rates, and what is known by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.plan.refining import Found, Refinement, found_of, new_multiples, refined
from orchestrator.plan.seeds import OverSeeds, over_seeds
from orchestrator.plan.settled_trials import NOTHING_SETTLED

if TYPE_CHECKING:
    from orchestrator.plan.run_state import RunState


def with_next_rates(state: RunState, columns: Sequence[int]) -> RunState:
    """With the rates of the next round in those of some columns that have completed one.

    What settled before its rate was known, as what is read from the tables at once, is placed.
    """
    following = {
        i: found.following
        for i in columns
        if (found := refinement(state, i)) is not None and found.following
    }
    its_seeds = state.layout.seeds
    for seeds in dict.fromkeys(its_seeds[i] for i in columns if i in its_seeds):
        if following.keys().isdisjoint(seeds):
            following |= _of_seeds(state, seeds)
    if not following:
        return state
    plans = list(state.plans)
    for i, more in following.items():
        plans[i] = dataclasses.replace(plans[i], refined=(*plans[i].refined, *more))
    moved = dataclasses.replace(state, plans=tuple(plans), unplaced=NOTHING_SETTLED)
    return moved.restated(list(following)).settled(state.unplaced)


def refinement(state: RunState, i: int) -> Refinement | None:
    """What the rounds of a column say; None while one is under way, or where it has none."""
    plan, known = state.plans[i], _found(state, [i])
    if plan.column.refine is None or not known:
        return None
    return refined(known[0][1], plan.column.refine, len(plan.refined))


def valley_over_seeds(state: RunState, i: int) -> OverSeeds | None:
    """What the seeds of a column's problem say together; None where there is but one, nothing is
    asked, or one of them does not know yet what it can by itself.
    """
    seeds, asked = state.layout.seeds.get(i, ()), state.columns[i].refine
    if not seeds or asked is None or asked.valley is None:
        return None
    able = [one for one in seeds if not state.plans[one].blocked]
    known = _found(state, able)
    if len(able) < 2 or len(known) < len(able):
        return None
    used = {one: len(state.plans[one].refined) for one in able}
    if any(refined(found, asked, used[one]).following for one, found in known):
        return None
    return over_seeds([found for _, found in known], asked.valley, asked.most - max(used.values()))


def refined_so_far(state: RunState, i: int) -> str | None:
    """What the rounds of a column have found, in words; None where it has none."""
    asked, used = state.plans[i].column.refine, len(state.plans[i].refined)
    if asked is None:
        return None
    found, together = refinement(state, i), valley_over_seeds(state, i)
    said = ", a round is under way" if found is None else f"; {found.said}"
    if together is not None:
        said += f"; {together.said}"
    elif found is not None and asked.valley is not None and i not in state.layout.seeds:
        said += " (one seed)"
    return f"{used} of at most {asked.most} further rates{said}"


def _of_seeds(state: RunState, seeds: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """The rates that the seeds of a problem need to tell their valley; none before each knows what
    it can by itself.
    """
    if (together := valley_over_seeds(state, seeds[0])) is None:
        return {}
    new = {i: new_multiples(together.following, found) for i, found in _found(state, seeds)}
    return {i: tuple(sorted(its)) for i, its in new.items() if its}


def _found(state: RunState, columns: Sequence[int]) -> list[tuple[int, Found]]:
    """What those of some columns have found whose rounds are complete."""
    each = []
    for i in columns:
        its = state.layout.slot(i)
        found = found_of(
            state.plans[i], state.states[its], state.results[its], state.reached[its],
            state.sharpness[its], state.test_loss[its],
        )  # fmt: skip
        if found is not None:
            each.append((i, found))
    return each
