"""What state the trials of columns are in, by what is known of each: a rule on arrays."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


class State(IntEnum):
    """Of one trial.

    ``SKIPPED`` trials are left out by a rule: rates above those that diverged, and trials whose
    parent never reached the state at which they were to begin, or was skipped.
    ``BLOCKED`` trials cannot be laid out: their flow failed or gives no learning rates, or their
    parent failed.
    ``ABSENT`` numbers stand for no trial: two learning rates of the file turned out to be one, or
    another column has the flow.
    """

    TO_DO = 0
    RUNNING = 1
    SETTLED = 2
    FAILED = 3
    SKIPPED = 4
    BLOCKED = 5
    ABSENT = 6


class Result(IntEnum):
    """What the tables say of a trial."""

    NONE = 0
    STABLE = 1
    DIVERGED = 2
    NO_START = 3


def states_of(
    results: Codes,
    failed: Mask,
    running: Mask,
    flowless: Mask,
    of_parent: Codes,
    blocked: Mask,
    known: Integers,
    asked: Integers,
    first_above: Integers,
    stop_after_divergences: int | None,
) -> Codes:
    """The :class:`State` of the trials of C columns with k places each.

    Args:
        results: (C, k), of :class:`Result`.
        failed: (C, k), trials that are not tried again.
        running: (C, k).
        flowless: (C,), whether the flow has its number in another column.
        of_parent: (C,), the state of the trial from which the column starts; SETTLED where that
            makes no difference.
        blocked: (C,), whether the flow's result gives no learning rates.
        known: (C,), the number of GD trials.
        asked: (C,), how many of these the file asks for; those that follow from them are not
            skipped.
        first_above: (C,), the place of the first GD trial above 2 η_c.
        stop_after_divergences: of the columns, all the same.
    """
    states = np.full(results.shape, State.TO_DO, dtype=np.uint8)
    states[failed] = State.FAILED
    states[running] = State.RUNNING
    states[results != Result.NONE] = State.SETTLED
    descents = states[:, 1:]
    states[results == Result.NO_START] = State.SKIPPED
    blocked = blocked | (states[:, 0] == State.FAILED)
    blocked |= (of_parent == State.FAILED) | (of_parent == State.BLOCKED)
    left_out = (of_parent == State.SKIPPED) | (of_parent == State.ABSENT)
    descents[left_out[:, None] & (descents == State.TO_DO)] = State.SKIPPED
    descents[blocked[:, None] & (descents == State.TO_DO)] = State.BLOCKED
    if stop_after_divergences is not None:
        by_file = ~places_from(1 + asked, states)
        diverged = (results == Result.DIVERGED)[:, 1:] & by_file[:, 1:]
        skipped = places_from(first_after(diverged, first_above, stop_after_divergences), states)
        skipped &= by_file
        states[skipped & (states == State.TO_DO)] = State.SKIPPED
    states[places_from(1 + known, states)] = State.ABSENT
    states[flowless, 0] = State.ABSENT
    return states


def places_from(first: Integers, states: Codes) -> Mask:
    """Of each column, the places from one on; as a mask of the shape of ``states``."""
    return np.arange(states.shape[1]) >= first[:, None]


def first_after(counts: Mask, first_above: Integers, needed: int) -> Integers:
    """The first place after ``needed`` neighbouring GD trials that count, of each column.

    Only places from ``first_above`` on matter. ``counts`` is (C, k − 1), of the GD trials alone.
    The place beyond the last where there are too few.
    """
    columns, descents = counts.shape
    found = np.full(columns, 1 + descents)
    length = np.zeros(columns, dtype=np.int64)
    for descent in range(descents):
        place = 1 + descent
        above = place >= first_above
        found = np.where(above & (length >= needed) & (found > place), place, found)
        length = np.where(above & counts[:, descent], length + 1, 0)
    return found


def may_start(
    states: Codes,
    results: Codes,
    asked: int,
    first_above: int,
    stop_after_divergences: int | None,
) -> Integers:
    """The places of one laid-out column whose trials may start now.

    A trial that could still be skipped is not started, so which trials run does not depend on how
    many run at once.
    """
    waiting: Integers = np.flatnonzero(states[1:] == State.TO_DO) + 1
    if stop_after_divergences is None:
        return waiting
    open_ones = (states == State.TO_DO) | (states == State.RUNNING) | (states == State.SKIPPED)
    may_diverge = ((results == Result.DIVERGED) | open_ones)[: 1 + asked]
    above = np.array([first_above])
    certain = first_after(may_diverge[None, 1:], above, stop_after_divergences)
    chosen: Integers = waiting[(waiting < certain[0]) | (waiting > asked)]
    return chosen
