"""At which steps a trajectory has points."""

import itertools
import math

import pytest

from jobs import OngoingTrial, run_trial
from jobs.dynamics.schedule import is_recorded, points, steps_to_record


def _points(steps, every=None):
    return [step for step in range(steps + 1) if is_recorded(step, every)]


@pytest.mark.parametrize("steps", [100, 101, 150, 199, 500, 1_000, 7_866, 100_000, 10**6])
def test_a_run_of_any_length_has_100_to_300_points(steps):
    assert 100 <= len(_points(steps)) <= 300


def test_a_short_run_has_a_point_at_every_step():
    assert _points(100) == list(range(101))


@pytest.mark.parametrize("every", [None, 1, 7, 50])
@pytest.mark.parametrize("steps", [10, 100, 150, 700, 1_000, 7_866, 100_000])
def test_the_points_of_a_run_can_be_counted_beforehand(steps, every):
    assert points(steps, every) == pytest.approx(len(_points(steps, every)) - 1, abs=2)


def test_points_lie_at_most_a_tenth_apart():
    for before, after in itertools.pairwise(_points(100_000)[100:]):
        assert after - before <= before / 10
    assert _points(10**6)[-1] == 10**6 - 10**6 % 81_920


def test_points_grow_apart_and_never_come_closer():
    gaps = [after - before for before, after in itertools.pairwise(_points(100_000))]
    assert gaps == sorted(gaps)


@pytest.mark.parametrize("every", [None, 1, 7, 50, "factor 1.01", "factor 1.2", "factor 3"])
def test_the_steps_to_the_next_point_are_those_until_one_is_recorded(every):
    for step in range(900):
        ahead = steps_to_record(step, every)
        assert ahead >= 1
        assert is_recorded(step + ahead, every)
        assert not any(is_recorded(step + k, every) for k in range(1, ahead))


def test_a_number_means_each_step_of_that_number():
    assert _points(30, 7) == [0, 7, 14, 21, 28]


def test_by_a_factor_steps_grow_by_it():
    assert _points(60, "factor 1.2") == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        8,
        10,
        12,
        15,
        18,
        22,
        27,
        33,
        40,
        48,
        58,
    ]
    assert _points(100, "factor 2") == [0, 1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("every", ["factor 1.1", "factor 2", "factor 10"])
@pytest.mark.parametrize("steps", [10, 1_000, 100_000])
def test_points_by_a_factor_can_be_counted_beforehand(steps, every):
    assert points(steps, every) == pytest.approx(len(_points(steps, every)) - 1, rel=0.3, abs=2)


@pytest.mark.parametrize("rate", [0.01, 0.03, 0.07, 0.1, 0.13])
def test_by_time_each_multiple_has_the_first_step_at_or_after_it(trial, rate):
    """Where a step is longer than the interval, each step is a point."""
    spec = trial(rate, epsilons=(1e-9,), max_steps=40, trajectory_every="time 0.1", n_train=9)
    found = [point.step for point in run_trial(spec, threads=1).trajectory]
    expected = {math.ceil(0.1 * multiple / rate - 1e-9) for multiple in range(100)}
    assert found == sorted({*(step for step in expected if step < 40), 40})
    assert len(found) - 1 == pytest.approx(points(40, "time 0.1", rate), abs=1)


def test_by_time_a_flow_has_one_point_after_each_multiple(trial):
    spec = trial(None, epsilons=(0.3,), trajectory_every="time 0.5")
    *times, end = [point.time for point in run_trial(spec, threads=1).trajectory]
    assert [math.floor(time / 0.5) for time in times] == list(range(len(times)))
    assert times[-1] < end < 0.5 * len(times) + 0.5


@pytest.mark.parametrize("learning_rate", [0.01, None])
def test_a_trial_records_the_steps_of_the_rule_and_its_end(trial, learning_rate):
    spec = trial(learning_rate, epsilons=(1e-6,), max_steps=233, trajectory_every=None, n_train=9)
    result = run_trial(spec, threads=1)
    last = result.crossings[0].steps
    assert last > 110
    assert [point.step for point in result.trajectory] == sorted({*_points(last), last})


@pytest.mark.parametrize("every", [None, "time 0.5", "factor 1.3"])
def test_a_trial_that_is_resumed_between_points_records_the_same(trial, tmp_path, every):
    spec = trial(0.05, epsilons=(0.4, 1e-9), max_steps=233, trajectory_every=every, n_train=9)
    whole = run_trial(spec, threads=1)
    run = OngoingTrial(spec, threads=1)
    run.advance(lambda: run.step >= 113)
    run.save(tmp_path / "checkpoint")
    resumed = OngoingTrial(spec, threads=1)
    resumed.restore(tmp_path / "checkpoint")
    resumed.advance()
    assert resumed.result() == whole
    assert all(point.sharpness is not None for point in whole.trajectory)
