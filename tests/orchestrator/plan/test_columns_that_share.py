"""Columns that share a flow, and columns that start from trials of others: what waits for what."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from support.outcomes import outcome

from jobs.spec import Optimizer, Trial
from orchestrator.plan import Attempt, RunState, State, extended, newest
from orchestrator.plan.settled_trials import as_number
from orchestrator.sweep import Sweep, parse

SHARPNESS = 50.0
FILE = """
name: shared
problem: {dataset: digits, n_train: 100, width: 8}
eta: {values: [0.5, 2.0]}
stop: {epsilon: [0.1, 0.05], max_steps: 1000}
"""
OPTIMIZERS = ["optimizer.name=[gd,heavy_ball,nesterov]", "optimizer.momentum=0.5"]
STARTS = (
    FILE
    + """
grids:
  - {label: hot}
  - label: cold
    start: {from: hot, epsilon: 0.05}
    eta: {values: [0.3]}
  - label: colder
    start: {from: cold, step: 7}
    eta: {values: [0.1]}
"""
)


class Run:
    """The state of a run of a sweep, moved on by what happens to its trials."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.state = sweep, RunState.of(sweep.columns)

    def trials(self, i: int) -> tuple[Trial, ...]:
        return self.state.plans[i].trials

    def states(self, i: int) -> list[State]:
        return [State(s) for s in self.state.states[self.state.layout.slot(i)]]

    def ready(self) -> list[Trial]:
        return [trial for column in self.state for trial in column.ready]

    def settle(self, i: int, trial: Trial, status: str = "reached") -> None:
        name = self.sweep.columns[i].column_id
        self.state = self.state.settled(outcome(trial, status, sharpness=SHARPNESS, column_id=name))

    def fail(self, i: int, trial: Trial) -> None:
        failed = Attempt(1, "failed", "numerics")
        name = self.sweep.columns[i].column_id
        self.state = self.state.failed(trial.trial_id, name, failed)


def same(one: RunState, other: RunState) -> bool:
    arrays = ("results", "attempts", "states", "counts")
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in arrays) and (
        [plan.trials for plan in one.plans] == [plan.trials for plan in other.plans]
    )


def test_columns_that_differ_in_the_optimiser_have_one_flow() -> None:
    run = Run(parse(FILE, OPTIMIZERS))
    assert [c.optimizer.name for c in run.sweep.columns] == ["gd", "heavy_ball", "nesterov"]
    assert (run.state.total.total, run.state.total.to_do) == (7, 7)
    (flow,) = run.ready()
    run.settle(0, flow)
    assert run.state.total.settled == 1
    assert [plan.critical_rate for plan in run.state.plans] == pytest.approx(
        [2 / SHARPNESS, 3 / SHARPNESS, 1.5 / SHARPNESS]
    )
    assert len(run.ready()) == 6
    assert len({trial.trial_id for trial in run.ready()}) == 6
    for i, column in enumerate(run.sweep.columns):
        for trial in run.trials(i)[1:]:
            assert trial.optimizer == column.optimizer
            run.settle(i, trial)
    assert run.state.complete.all()
    assert (run.state.total.settled, run.state.total.total) == (7, 7)


def test_a_flow_that_failed_blocks_all_columns_that_share_it() -> None:
    run = Run(parse(FILE, OPTIMIZERS))
    run.fail(0, run.trials(0)[0])
    assert [run.states(i)[1:] for i in range(3)] == [[State.BLOCKED] * 2] * 3
    assert run.state.total.failed == 1
    assert run.state.column_at(2).blocked == "its flow, which is another column's too, failed"
    assert run.state.complete.all()


def test_a_flow_counts_that_a_column_computed_which_the_sweep_has_no_more() -> None:
    before, after = parse(FILE, OPTIMIZERS), parse(FILE, ["optimizer.name=[nesterov,heavy_ball]"])
    run = Run(after)
    flow = before.columns[0].flow()
    run.state = run.state.settled(
        outcome(flow, sharpness=SHARPNESS, column_id=before.columns[0].column_id)
    )
    assert run.state.total.settled == 1
    assert len(run.ready()) == 4


@pytest.mark.parametrize("first", [False, True])
def test_an_optimiser_that_comes_later_takes_the_flow_that_is_there(first: bool) -> None:
    plain = parse(FILE)
    run = Run(plain)
    run.settle(0, run.trials(0)[0])
    for trial in run.trials(0)[1:]:
        run.settle(0, trial)
    names = "[heavy_ball,gd]" if first else "[gd,heavy_ball]"
    wider = parse(FILE, [f"optimizer.name={names}"])
    grown = extended(run.state, wider.columns)
    assert grown.total.settled == 3
    assert (grown.total.to_do, grown.total.total) == (2, 5)
    rows = [
        outcome(t, sharpness=SHARPNESS, column_id=plain.columns[0].column_id) for t in run.trials(0)
    ]
    assert same(grown, RunState.of(wider.columns).settled(newest(rows)))


def hot_flow_done() -> Run:
    run = Run(parse(STARTS))
    run.settle(0, run.trials(0)[0])
    return run


def test_a_start_waits_for_the_trial_from_which_it_starts() -> None:
    run = hot_flow_done()
    labels = [c.start.said if c.start else "" for c in run.sweep.columns]
    assert labels == [
        *("", "0.5 η_c, ε = 0.05", "2 η_c, ε = 0.05"),
        *("0.5 η_c, ε = 0.05; 0.3 η_c, step 7", "2 η_c, ε = 0.05; 0.3 η_c, step 7"),
    ]
    hot = run.trials(0)
    assert {trial.trial_id for trial in run.ready()} == {trial.trial_id for trial in hot[1:]}
    assert run.state.waiting.tolist() == [False, True, True, True, True]
    assert run.state.total.total == 7  # one flow for them all
    run.settle(0, hot[2])
    (child,) = (trial for trial in run.ready() if trial.start)
    assert child.start.parent == hot[2]
    assert child == run.trials(2)[1]
    assert run.state.starts_at(hot[2], run.sweep.columns[0].column_id) == (child.start.state,)
    run.settle(2, child)
    (grandchild,) = (trial for trial in run.ready() if trial.start)
    assert grandchild.start.parent == child
    assert not run.state.complete[1]


@pytest.mark.parametrize(
    ("status", "state"), [("no_start", State.SKIPPED), ("diverged", State.TO_DO)]
)
def test_a_trial_without_a_start_is_skipped_and_so_are_its_children(
    status: str, state: State
) -> None:
    run = hot_flow_done()
    run.settle(0, run.trials(0)[1])
    run.settle(1, run.trials(1)[1], status)
    assert run.states(3)[1] == state  # which finds out by itself that a state is missing
    assert run.states(1)[1] == (State.SKIPPED if status == "no_start" else State.SETTLED)


def test_a_parent_that_failed_blocks_its_children_until_it_is_tried_again() -> None:
    run = hot_flow_done()
    run.fail(0, run.trials(0)[1])
    assert [run.states(i)[1] for i in (1, 3)] == [State.BLOCKED] * 2
    assert run.states(2)[1] == State.TO_DO
    assert "from which it starts failed" in str(run.state.column_at(1).blocked)
    run.state = run.state.rearmed({run.trials(0)[1].trial_id: 1})
    assert [run.states(i)[1] for i in (1, 3)] == [State.TO_DO] * 2


def test_a_parent_above_rates_that_diverged_is_skipped_with_its_children() -> None:
    sweep = parse(STARTS, ["eta.stop_after_divergences=1"])
    hot, *rest = sweep.columns
    etas = (dataclasses.replace(hot.etas[0], multiples=(0.5, 2.5, 3.0)),)
    three = parse(STARTS.replace("[0.5, 2.0]", "[0.5, 2.5, 3.0]"), ["eta.stop_after_divergences=1"])
    assert three.columns[0].etas == etas
    run = Run(three)
    run.settle(0, run.trials(0)[0])
    run.settle(0, run.trials(0)[2], "diverged")
    children = [i for i, c in enumerate(three.columns) if c.start and c.start.said[:3] == "3 η"]
    assert [run.states(i)[1] for i in children] == [State.SKIPPED] * len(children)
    assert len(children) == 2
    assert len(rest) == 4


def test_the_state_does_not_depend_on_the_order_in_which_rows_are_read() -> None:
    run, rows = Run(parse(STARTS)), []
    for _ in range(6):
        for i in range(len(run.sweep.columns)):
            column = run.state.column_at(i)
            for trial in column.ready:
                status = (
                    "diverged" if trial.learning_rate and trial.learning_rate > 0.07 else "reached"
                )
                name = column.column_id
                rows.append(outcome(trial, status, sharpness=SHARPNESS, column_id=name))
                run.state = run.state.settled(rows[-1])
    assert run.state.complete.all()
    assert len(rows) == 7
    for seed in range(20):
        shuffled = rows.copy()
        random.Random(seed).shuffle(shuffled)
        state = RunState.of(run.sweep.columns)
        for row in shuffled:
            state = state.settled(row)
        assert same(state, run.state)
        assert same(RunState.of(run.sweep.columns).settled(newest(shuffled)), run.state)
        assert same(extended(state, run.sweep.columns), run.state)


def test_names_of_columns_and_trials_do_not_depend_on_labels() -> None:
    one = parse(STARTS)
    other = parse(
        STARTS.replace("hot", "warm")
        .replace("label: cold\n", "label: cool\n")
        .replace("from: cold,", "from: cool,")
    )
    assert [c.column_id for c in one.columns] == [c.column_id for c in other.columns]
    assert len({as_number(c.column_id) for c in one.columns}) == 5
    assert one.columns[0].optimizer == Optimizer()
