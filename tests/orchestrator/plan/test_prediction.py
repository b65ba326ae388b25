"""What is left of several columns, when some of them have been timed."""

from __future__ import annotations

import pytest
from support.outcomes import outcome

from jobs.device_speed import DeviceSpeed
from jobs.spec import Problem, Protocol
from orchestrator.plan import (
    Attempt,
    GradientKind,
    RunningAttempt,
    RunState,
    predict,
    seconds_to_go,
)
from orchestrator.sweep import Column, EtaGrid, Resources

ONE_GPU = Resources(gpus_per_worker=1)


def a_column(seed: int, resources: Resources | None = None, architecture: str = "fcn") -> Column:
    return Column(
        problem=Problem(dataset="digits", n_train=100, seed=seed, architecture=architecture),
        protocol=Protocol(epsilons=(0.1,)),
        etas=(EtaGrid(unit="eta_c", multiples=(0.5, 1.0, 1.5)),),
        stop_after_divergences=None,
        resources=resources or Resources(),
    )


def finished(state: RunState, column: Column, seconds: float) -> RunState:
    """With all trials of a column settled, which took so long together."""
    state = begun(state, column, seconds / 4)
    for trial in state.column(column.column_id).ready:
        state = state.settled(outcome(trial, wall_s=seconds / 4))
    assert state.column(column.column_id).complete
    return state


def begun(state: RunState, column: Column, seconds: float = 5.0) -> RunState:
    """With the flow of a column settled."""
    return state.settled(outcome(column.flow(), wall_s=seconds))


def alone(column: Column) -> float:
    """The seconds of a column of which nothing was timed."""
    return float(predict(RunState.of([column])).seconds[0])


def test_columns_that_have_not_begun_take_as_long_as_those_that_are_done() -> None:
    """They are all alike: whatever was assumed, each takes what the others took in the median."""
    columns = [a_column(seed) for seed in range(5)]
    state = RunState.of(columns)
    for column, seconds in zip(columns, (7.0, 8.0, 100.0), strict=False):
        state = finished(state, column, seconds)
    left = predict(state)
    assert left.seconds == pytest.approx([0, 0, 0, 8, 8], rel=1e-12)
    assert left.timed.all()
    assert left.guess.tolist() == [False, False, False, True, True]


def test_the_flow_alone_says_what_a_column_takes() -> None:
    """While GD is still to do, the column is expected to take what its flow makes of it."""
    columns = [a_column(0), a_column(1)]
    left = predict(begun(RunState.of(columns), columns[0]))
    own = predict(begun(RunState.of(columns[:1]), columns[0]))
    assert left.seconds[0] == own.seconds[0]
    assert left.seconds[1] == pytest.approx(5.0 + left.seconds[0], rel=1e-12)


def test_a_column_with_other_resources_says_nothing() -> None:
    done, with_gpu = a_column(0), a_column(1, ONE_GPU)
    left = predict(finished(RunState.of([done, with_gpu]), done, 8.0))
    assert left.seconds[1] == alone(with_gpu)
    assert left.timed.tolist() == [True, False]


def test_what_was_never_timed_takes_what_its_device_makes_of_it() -> None:
    """All three rates of a column share the launches; only the device of a column counts."""
    speed = DeviceSpeed(1e-3, {"float32": 1e12, "float64": 1e12}, 1e12)
    core, with_gpu = a_column(0), a_column(1, ONE_GPU)
    state = RunState.of([core, with_gpu])
    found = predict(state, speeds={"cuda": speed})
    assert found.seconds[0] == alone(core)
    each = speed.seconds_per_gradient(with_gpu.problem, together=3)
    assert found.seconds[1] == pytest.approx(found.gradients[1] * each, rel=1e-12)
    assert found.timed.tolist() == [False, False]
    timed = predict(finished(state, core, 8.0), speeds={"cpu": speed})
    assert timed.seconds.tolist() == [0.0, alone(with_gpu)]


def test_gradients_timed_on_a_cpu_do_not_predict_a_gpu() -> None:
    columns = [a_column(0, architecture="cnn"), a_column(1, ONE_GPU, architecture="cnn")]
    found = predict(RunState.of(columns), gradient_seconds={GradientKind.of(columns[0]): 0.5})
    assert found.seconds[0] == pytest.approx(found.gradients[0] * 0.5, rel=1e-12)
    assert found.seconds[1] == alone(columns[1])
    assert found.timed.tolist() == [True, False]


def test_a_column_that_failed_in_part_says_nothing() -> None:
    """Its trials that are missing took no time, which says nothing of those of others."""
    broken, fresh = a_column(0), a_column(1)
    state = begun(RunState.of([broken, fresh]), broken)
    for trial in state.column(broken.column_id).ready:
        failed = Attempt(1, "failed", "numerics")
        state = state.failed(trial.trial_id, broken.column_id, failed)
    assert predict(state).seconds[1] == alone(fresh)


def test_nothing_is_left_of_a_column_that_is_complete_or_blocked() -> None:
    done, blocked = a_column(0), a_column(1)
    state = finished(RunState.of([done, blocked]), done, 8.0)
    failed = Attempt(1, "failed", "numerics")
    left = predict(state.failed(blocked.flow().trial_id, blocked.column_id, failed))
    assert left.gradients.tolist() == left.seconds.tolist() == [0.0, 0.0]
    assert left.timed.all()
    assert not left.guess.any()


def test_what_is_left_of_a_column_whose_flow_has_run_is_its_trials_and_no_more() -> None:
    """Less the steps that were done; one that takes longer than predicted has a twentieth left."""
    column = a_column(0)
    state = begun(RunState.of([column]), column)
    plan = state.plans[0]
    each = plan.costs[1:].tolist()
    left = predict(state)
    assert left.gradients == pytest.approx(sum(each), rel=1e-12)
    assert left.seconds == pytest.approx(0.01 * sum(each), rel=1e-12)
    assert (left.guess.tolist(), left.timed.tolist()) == ([False], [True])
    first, second, _ = plan.trials[1:]
    done = {first.trial_id: 100, second.trial_id: 10**9}
    for trial in (first, second):
        state = state.started(trial.trial_id, column.column_id, RunningAttempt(1))
    expected = each[0] - 100 + each[1] / 20 + each[2]
    assert predict(state, done).gradients == pytest.approx(expected, rel=1e-12)


def test_what_is_left_takes_as_long_as_what_has_settled_took() -> None:
    """In a batch a trial takes less than its flow foretells."""
    columns = [a_column(0), a_column(1), a_column(2, ONE_GPU)]
    state = RunState.of(columns)
    for column in columns:
        state = begun(state, column)
    foretold = predict(state).seconds
    plan = state.plans[0]
    first = plan.trials[1]
    of_first = float(plan.costs[1]) * plan.seconds_per_gradient
    state = state.settled(outcome(first, wall_s=0.25 * of_first))
    of_others = [0.25 * (foretold[0] - of_first), 0.25 * foretold[1], foretold[2]]
    assert predict(state).seconds == pytest.approx(of_others, rel=1e-9)


def test_a_gradient_that_was_timed_counts_until_trials_were() -> None:
    """Of this column: what is known of whole trials says more, and other columns stay a guess."""
    done, fresh = a_column(0, architecture="cnn"), a_column(1, architecture="cnn")
    other = a_column(2, ONE_GPU)
    timed = {GradientKind.of(fresh): 0.25}
    left = predict(RunState.of([fresh, other]), gradient_seconds=timed)
    assert left.seconds[0] == pytest.approx(0.25 * left.gradients[0], rel=1e-12)
    assert (left.guess.tolist(), left.timed.tolist()) == ([True, True], [True, False])
    assert left.seconds[1] == alone(other)
    state = finished(RunState.of([done, fresh]), done, 8.0)
    assert predict(state, gradient_seconds=timed).seconds[1] == pytest.approx(8.0)


def test_where_every_flow_has_run_each_column_is_predicted_by_its_own() -> None:
    done, other = a_column(0), a_column(1)
    state = begun(finished(RunState.of([done, other]), done, 8.0), other)
    own = predict(begun(RunState.of([other]), other))
    assert predict(state).seconds.tolist() == [0.0, own.seconds[0]]


def test_the_time_to_go_rests_on_what_was_timed_and_never_on_what_was_assumed() -> None:
    """A gradient of one column says nothing of another one, until that has been timed, too."""
    timed, assumed = a_column(0, architecture="cnn"), a_column(1)
    seconds = {GradientKind.of(timed): 0.25}
    assert seconds_to_go(RunState.of([timed])) is None
    state = RunState.of([timed, assumed])
    assert seconds_to_go(state, gradient_seconds=seconds) is None
    by_gradient = seconds_to_go(RunState.of([timed]), gradient_seconds=seconds)
    gradients = predict(RunState.of([timed])).gradients[0]
    assert by_gradient == pytest.approx(0.25 * gradients, rel=1e-12)
    by_trials = seconds_to_go(finished(state, assumed, 8.0), gradient_seconds=seconds)
    assert by_trials is not None
    assert by_trials != by_gradient
