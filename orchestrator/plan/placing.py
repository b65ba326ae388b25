"""Which trials of a sweep the rows of the tables belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.layout import Layout, Numbers
from orchestrator.plan.settled_trials import Mask, SettledTrials

Plans = Sequence[ColumnPlan]
Placed = tuple[Numbers, Numbers]
"""The numbers of trials, and for each the row that is of it."""


def with_flows(
    layout: Layout, plans: tuple[ColumnPlan, ...], rows: SettledTrials
) -> tuple[tuple[ColumnPlan, ...], list[int]]:
    """The plans with the flows among settled trials, each in all columns that share it, and the
    columns whose flow is new.
    """
    at = np.flatnonzero(rows.is_flow)
    if not len(at):
        return plans, []
    known, begun = list(plans), []
    columns = _of_flows(layout, rows, at)
    for name, first in zip(rows.trial[at].tolist(), columns.tolist(), strict=True):
        for i in layout.flow_sharers.get(first, (first,)) if first >= 0 else ():
            if known[i].flow is None:
                known[i] = dataclasses.replace(known[i], flow=rows.flows[name])
                begun.append(i)
    begun += with_parents(layout, known)
    return tuple(known), list(dict.fromkeys(begun))


def with_parents(layout: Layout, plans: list[ColumnPlan]) -> list[int]:
    """Put the trials from which columns start into their plans, as far as their η is known;
    returns the columns of which that is new.
    """
    found = []
    for i in sorted(layout.parents, key=lambda i: int(layout.generation[i])):
        start = plans[i].column.start
        if plans[i].parent is None and start is not None:
            parent = plans[layout.parents[i]].trial_at(start.rate)
            if parent is not None:
                plans[i] = dataclasses.replace(plans[i], parent=parent)
                found.append(i)
    return found


def _of_flows(layout: Layout, rows: SettledTrials, at: Numbers) -> Numbers:
    """The column that has the number of each of these flows; −1 for one that is of no column.

    One that another column of the same problem and protocol has computed, which the sweep does not
    have any more, is known by its name.
    """
    columns = layout.find(rows.column[at])
    names = layout.flow_names if (columns < 0).any() else {}
    known = zip(rows.trial[at].tolist(), columns.tolist(), rows.digested[at].tolist(), strict=True)
    return np.array(
        [
            layout.with_flow(i) if i >= 0 else names.get(name, -1) if digested else -1
            for name, i, digested in known
        ],
        dtype=np.int64,
    )


def placed(
    layout: Layout, plans: Plans, rows: SettledTrials, begun: Sequence[int], to_do: Mask
) -> Placed:
    """Which trials the rows of settled trials are of.

    Args:
        layout: the trials by number.
        plans: of all columns.
        rows: the settled trials.
        begun: the columns whose flow is new.
        to_do: of each column, whether it had trials to do before.
    """
    columns = layout.find(rows.column)
    found = [
        _flows(layout, rows),
        _descents(layout, plans, rows, columns),
        _by_name(layout, plans, rows, columns, begun, to_do),
    ]
    numbers, at = zip(*found, strict=True)
    return np.concatenate(numbers), np.concatenate(at)


def _flows(layout: Layout, rows: SettledTrials) -> Placed:
    at = np.flatnonzero(rows.is_flow)
    columns = _of_flows(layout, rows, at)
    known = columns >= 0
    return layout.first[columns[known]], at[known]


def _descents(layout: Layout, plans: Plans, rows: SettledTrials, columns: Numbers) -> Placed:
    """GD trials, by their η in their column and in those that share its trials."""
    at = np.flatnonzero(~rows.is_flow & (columns >= 0))
    own = columns[at]
    if layout.relatives:
        groups = [layout.relatives.get(i, (i,)) for i in own.tolist()]
        at = np.repeat(at, [len(group) for group in groups])
        own = np.array([i for group in groups for i in group], dtype=np.int64)
    places = np.zeros(len(own), dtype=np.int64)
    handlings, handling_of = layout.handlings
    for kind in np.unique(handling_of[own]).tolist():
        of_kind = np.flatnonzero(handling_of[own] == kind)
        distinct, which = np.unique(own[of_kind], return_inverse=True)
        its_plans = [plans[i] for i in distinct.tolist()]
        places[of_kind] = handlings[kind].places(its_plans, which, rows.eta[at[of_kind]])
    known = places > 0
    return layout.first[own[known]] + places[known], at[known]


def _by_name(
    layout: Layout,
    plans: Plans,
    rows: SettledTrials,
    columns: Numbers,
    begun: Sequence[int],
    to_do: Mask,
) -> Placed:
    """Trials whose names are those of rows of columns that the sweep does not have."""
    strangers = np.flatnonzero(~rows.is_flow & (columns < 0))
    numbers: list[int] = []
    at: list[int] = []
    if len(strangers):
        order = strangers[np.argsort(rows.trial[strangers])]
        ordered = rows.trial[order]
        for i in sorted({*begun, *np.flatnonzero(to_do).tolist()}):
            if plans[i].flow is None:
                continue
            names = plans[i].names[1:]
            near = np.minimum(np.searchsorted(ordered, names), len(ordered) - 1)
            for place in np.flatnonzero(ordered[near] == names).tolist():
                numbers.append(int(layout.first[i]) + 1 + place)
                at.append(int(order[near[place]]))
    return np.array(numbers, dtype=np.int64), np.array(at, dtype=np.int64)
