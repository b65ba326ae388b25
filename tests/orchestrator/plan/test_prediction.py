"""What is left of several columns, when some of them have been timed."""

from __future__ import annotations

import pytest

from jobs.spec import Problem, Protocol
from orchestrator.plan import (
    ColumnProgress,
    Gradient,
    Prediction,
    SettledTrial,
    Threshold,
    predict,
    predict_all,
    seconds_to_go,
)
from orchestrator.sweep import Column, EtaGrid, Resources

ONE_GPU = Resources(gpus_per_worker=1)


def progress(
    seed: int, resources: Resources | None = None, architecture: str = "fcn"
) -> ColumnProgress:
    column = Column(
        problem=Problem(dataset="digits", n_train=100, seed=seed, architecture=architecture),
        protocol=Protocol(epsilons=(0.1,)),
        etas=(EtaGrid(unit="eta_c", rates=(0.5, 1.0, 1.5)),),
        stop_after_divergences=None,
        resources=resources or Resources(),
    )
    return ColumnProgress(column, {})


def finish(column: ColumnProgress, seconds: float) -> None:
    """Settle all of its trials, which took so long together."""
    for index in range(4):
        trial = column.flow_trial if index == 0 else column.ready()[0]
        reached = Threshold(0.1, "reached", time=10.0, max_sharpness=50.0)
        column.settle(SettledTrial(trial.trial_id, (reached,), 400, 100, seconds / 4))
    assert column.complete


def test_columns_that_have_not_begun_take_as_long_as_those_that_are_done() -> None:
    """They are all alike: whatever was assumed, each takes what the others took in the median."""
    columns = [progress(seed) for seed in range(5)]
    for column, seconds in zip(columns, (7.0, 8.0, 100.0), strict=False):
        finish(column, seconds)
    left = predict_all(columns)
    assert [one.seconds for one in left] == pytest.approx([0, 0, 0, 8, 8], rel=1e-12)
    assert all(one.timed for one in left)
    assert [one.guess for one in left] == [False, False, False, True, True]


def test_the_flow_alone_says_what_a_column_takes() -> None:
    """While GD is still to do, the column is expected to take what its flow makes of it."""
    begun, fresh = progress(0), progress(1)
    reached = Threshold(0.1, "reached", time=10.0, max_sharpness=50.0)
    begun.settle(SettledTrial(begun.flow_trial.trial_id, (reached,), 400, 100, wall_s=5.0))
    of_begun, of_fresh = predict_all([begun, fresh])
    assert of_begun == predict(begun)
    assert of_fresh.seconds == pytest.approx(5.0 + of_begun.seconds, rel=1e-12)


def test_a_column_with_other_resources_says_nothing() -> None:
    done, with_gpu = progress(0), progress(1, ONE_GPU)
    finish(done, 8.0)
    assert predict_all([done, with_gpu])[1] == predict(with_gpu)
    assert not predict(with_gpu).timed


def test_a_column_that_failed_in_part_says_nothing() -> None:
    """Its trials that are missing took no time, which says nothing of those of others."""
    broken, fresh = progress(0), progress(1)
    reached = Threshold(0.1, "reached", time=10.0, max_sharpness=50.0)
    broken.settle(SettledTrial(broken.flow_trial.trial_id, (reached,), 400, 100, wall_s=5.0))
    for trial in broken.ready():
        broken.fail(trial.trial_id)
    assert predict_all([broken, fresh])[1] == predict(fresh)


def test_nothing_is_left_of_a_column_that_is_complete_or_blocked() -> None:
    done, blocked = progress(0), progress(1)
    finish(done, 8.0)
    blocked.fail(blocked.flow_trial.trial_id)
    for one in predict_all([done, blocked]):
        assert one == Prediction(gradients=0.0, seconds=0.0, guess=False, timed=True)


def test_what_is_left_of_a_column_whose_flow_has_run_is_its_trials_and_no_more() -> None:
    """Less the steps that were done; one that takes longer than predicted has a twentieth left."""
    begun = progress(0)
    reached = Threshold(0.1, "reached", time=10.0, max_sharpness=50.0)
    begun.settle(SettledTrial(begun.flow_trial.trial_id, (reached,), 400, 100, wall_s=5.0))
    trials = begun.trials[1:]
    each = [begun.gradients_of(trial) for trial in trials]
    left = predict(begun)
    assert left.gradients == pytest.approx(sum(each), rel=1e-12)
    assert left.seconds == pytest.approx(0.01 * sum(each), rel=1e-12)
    assert (left.guess, left.timed) == (False, True)
    done = {trials[0].trial_id: 100, trials[1].trial_id: 10**9}
    for trial in trials[:2]:
        begun.start(trial.trial_id)
    expected = each[0] - 100 + each[1] / 20 + each[2]
    assert predict(begun, done).gradients == pytest.approx(expected, rel=1e-12)


def test_a_gradient_that_was_timed_counts_until_trials_were() -> None:
    """Of this column: what is known of whole trials says more, and other columns stay a guess."""
    done, fresh = progress(0, architecture="cnn"), progress(1, architecture="cnn")
    other = progress(2, ONE_GPU)
    timed = {Gradient.of(fresh.column): 0.25}
    of_fresh, of_other = predict_all([fresh, other], timed=timed)
    assert of_fresh.seconds == pytest.approx(0.25 * predict(fresh).gradients, rel=1e-12)
    assert (of_fresh.guess, of_fresh.timed) == (True, True)
    assert of_other == predict(other)
    finish(done, 8.0)
    assert predict_all([done, fresh], timed=timed)[1].seconds == pytest.approx(8.0)


def test_where_every_flow_has_run_each_column_is_predicted_by_its_own() -> None:
    done, begun = progress(0), progress(1)
    finish(done, 8.0)
    reached = Threshold(0.1, "reached", time=10.0, max_sharpness=50.0)
    begun.settle(SettledTrial(begun.flow_trial.trial_id, (reached,), 400, 100, wall_s=5.0))
    assert predict_all([done, begun]) == [predict(done), predict(begun)]


def test_the_time_to_go_rests_on_what_was_timed_and_never_on_what_was_assumed() -> None:
    """A gradient of one column says nothing of another one, until that has been timed, too."""
    timed, assumed = progress(0, architecture="cnn"), progress(1)
    seconds = {Gradient.of(timed.column): 0.25}
    assert seconds_to_go([timed]) is None
    assert seconds_to_go([timed, assumed], timed=seconds) is None
    alone = seconds_to_go([timed], timed=seconds)
    assert alone == pytest.approx(0.25 * predict(timed).gradients, rel=1e-12)
    finish(assumed, 8.0)
    of_trials = seconds_to_go([timed, assumed], timed=seconds)
    assert of_trials == predict_all([timed, assumed])[0].seconds != alone
