"""Trials that go on together beside the same trials alone: no bit of what they find is another."""

import math

import pytest
import torch

from jobs import OngoingTrial
from jobs.curvature.memory import Chunks
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.problem import parameter_count, pose, working_memory
from jobs.process_group import Alone
from jobs.spec import FURTHER_MEASURES

COLUMN = {"epsilons": (0.4, 0.3, 0.2), "max_steps": 150}
RATES = (0.5, 0.02, 0.1, 0.05, 0.31, 4.0, 0.2)
"""Of this column: some above the edge of stability, one that diverges, one that is too slow."""


@pytest.fixture(scope="module")
def alone():
    """The results of trials that were run by themselves, each computed once."""
    results = {}

    def result(spec):
        if spec.trial_id not in results:
            run = OngoingTrial(spec, threads=1)
            run.advance()
            results[spec.trial_id] = run.result()
        return results[spec.trial_id]

    return result


def _runs(trial, rates=RATES, **changes):
    return [OngoingTrial(trial(rate, **{**COLUMN, **changes}), threads=1) for rate in rates]


def _same_results(runs, alone):
    """Every number has the same bits."""
    for run in runs:
        assert run.result() == alone(run.trial)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trajectory_every": 7, "activation": "relu", "depth": 2},
        {"loss": "ce", "activation": "gelu", "epsilons": (2.0, 1.5, 1.0)},
        {"depth": 0, "n_train": 5},
    ],
)
@pytest.mark.parametrize("block", [1, 5])
def test_the_rows_of_a_batch_are_those_of_its_trials_alone(trial, alone, changes, block):
    runs = _runs(trial, **changes)
    for run in runs:
        run.stepper.block = block
    advance(runs)
    _same_results(runs, alone)


def test_seeds_and_initial_scales_go_in_one_batch(trial, alone):
    runs = [
        run
        for changes in ({}, {"seed": 1}, {"seed": 2, "init_scale": 0.5})
        for run in _runs(trial, rates=(0.1, 0.31), **changes)
    ]
    assert len({run.trial.column_id for run in runs}) == 3
    advance(runs)
    _same_results(runs, alone)
    assert len({run.result().init_hash for run in runs}) == 3


@pytest.mark.parametrize("method", ["rkc2", "rk4"])
def test_flows_go_together_too(trial, alone, method, monkeypatch):
    runs = [
        OngoingTrial(trial(None, **{**COLUMN, "seed": seed, "flow_method": method}), threads=1)
        for seed in (0, 1, 2)
    ]
    calls, stacked = [], Objective.stacked_gradients

    def counted(objective, thetas):
        calls.append(len(thetas))
        return stacked(objective, thetas)

    monkeypatch.setattr(Objective, "stacked_gradients", counted)
    advance(runs)
    monkeypatch.undo()
    _same_results(runs, alone)
    assert sum(calls) > 1.5 * len(calls)  # whatever the number of their stages


def test_further_measures_of_a_batch_are_those_of_its_trials_alone(trial, alone):
    asked = {"also": FURTHER_MEASURES, "eigenvalues": 2, "midpoint": True, "probes": 3}
    runs = _runs(trial, rates=(0.5, 0.05, 0.31), **asked)
    advance(runs)
    _same_results(runs, alone)
    assert any(len(row.measures) > 2 * 20 for run in runs for row in run.result().crossings)


def test_the_learning_rates_of_these_tests_are_of_every_kind(trial, alone):
    results = [alone(trial(rate, **COLUMN)) for rate in RATES]
    ends = [result.crossings[-1] for result in results]
    assert {row.status for row in ends} == {"reached", "max_steps", "diverged"}
    assert len({row.steps for result in results for row in result.crossings}) > 10
    beyond = [
        result
        for result, rate in zip(results, RATES, strict=True)
        if rate * result.trajectory[0].sharpness > 2
    ]
    assert {result.crossings[-1].status for result in beyond} == {"reached", "diverged"}


def test_float32_runs_have_the_same_bits_too(trial, alone):
    runs = _runs(trial, rates=(0.02, 0.05, 0.1), dtype="float32")
    advance(runs)
    _same_results(runs, alone)


def test_runs_leave_one_after_the_other(trial):
    runs = _runs(trial)
    left, sizes = [], []
    while running := [run for run in runs if not run.finished]:
        sizes.append(len(running))
        advance(runs, lambda running=running: any(run.finished for run in running))
        left += [run for run in running if run.finished]
    assert sorted(map(id, left)) == sorted(map(id, runs))
    assert len(sizes) >= 4
    assert sizes == sorted(set(sizes), reverse=True)
    ends = [run.step for run in left]
    assert ends == sorted(ends)


def test_bits_depend_neither_on_companions_nor_on_interruptions(trial, tmp_path):
    together = _runs(trial)
    advance(together)
    results = {run.trial: run.result() for run in together}
    interrupted = _runs(trial)
    advance(interrupted, lambda: interrupted[1].step >= 30)
    restored = _restored(trial, interrupted, tmp_path)
    advance(restored)
    (single,) = _runs(trial, RATES[:1])
    advance([single])
    for run in (*restored, single):
        assert run.result() == results[run.trial]


def test_a_batch_can_be_filled_up_as_trials_leave(trial):
    together, runs = _runs(trial), _runs(trial)
    advance(together)
    waiting, going = runs[3:], runs[:3]
    while going:
        advance(going, lambda going=going: any(run.finished for run in going))
        going = [run for run in going if not run.finished]
        free = 3 - len(going)
        going, waiting = [*going, *waiting[:free]], waiting[free:]
    assert [run.result() for run in runs] == [run.result() for run in together]


def _restored(trial, runs, folder):
    restored = []
    for run in runs:
        run.save(folder / "checkpoint")
        restored.append(OngoingTrial(run.trial, threads=1))
        restored[-1].restore(folder / "checkpoint")
    return restored


@pytest.mark.parametrize("stop", [0, 1, 45])
def test_an_interrupted_batch_goes_on_as_single_trials(trial, alone, tmp_path, stop):
    runs = _runs(trial)
    advance(runs, lambda: max(run.step for run in runs) >= stop)
    assert not all(run.finished for run in runs)
    for run in _restored(trial, runs, tmp_path):
        run.advance()
        _same_results([run], alone)


def test_runs_at_different_steps_go_on_together(trial, alone, tmp_path):
    runs = _runs(trial)
    for run, step in zip(runs, (0, 3, 20, 31, 2, 1, 1000), strict=True):
        run.advance(lambda run=run, step=step: run.step >= step)
    assert len({run.step for run in runs}) == len(runs)
    assert runs[-1].finished
    restored = _restored(trial, runs, tmp_path)
    advance(restored)
    _same_results(restored, alone)


def test_a_run_that_leaves_keeps_no_memory_of_the_others(trial):
    runs = _runs(trial)
    advance(runs)
    for run in runs:
        for vector in (run.at.theta, run.at.previous, run.at.gradient):
            assert vector.untyped_storage().nbytes() == vector.numel() * vector.element_size()


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_stacked_gradients_are_the_gradients_of_every_row(random_objective, loss, chunk_size):
    objective, theta = random_objective(loss=loss, depth=2, chunk_size=chunk_size)
    thetas = torch.stack([theta, 2 * theta, theta - 1])
    before = objective.gradients
    losses, gradients = objective.stacked_gradients(thetas)
    assert objective.gradients == before
    objective.chunks = Chunks(objective.samples, 1)
    for row, point in enumerate(thetas):
        loss_there, gradient = objective.gradient(point)
        assert float(losses[row]) == pytest.approx(loss_there, rel=1e-12)
        torch.testing.assert_close(gradients[row], gradient, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_a_row_that_is_not_finite_leaves_the_others_unchanged(random_objective, value):
    objective, theta = random_objective()
    thetas = torch.stack([theta, 2 * theta, theta - 1])
    losses, gradients = objective.stacked_gradients(thetas)
    thetas[1] = value
    spoilt_losses, spoilt = objective.stacked_gradients(thetas)
    assert not spoilt_losses[1] < 1e200
    for row in (0, 2):
        assert spoilt_losses[row] == losses[row]
        assert torch.equal(spoilt[row], gradients[row])


def test_trials_that_cannot_share_a_batch_are_refused(trial):
    class Two(Alone):
        def __init__(self):
            super().__init__()
            self.size, self.rank = 2, 0

    gd, other = OngoingTrial(trial(0.1), threads=1), OngoingTrial(trial(0.2), threads=1)
    with pytest.raises(ValueError, match="there must be at least one"):
        advance([])
    flow = trial(None)
    with pytest.raises(ValueError, match=f"{flow.trial_id} are of different kinds"):
        advance([gd, OngoingTrial(flow, threads=1)])
    for changes in ({"width": 9}, {"max_steps": 7}):
        stranger = OngoingTrial(trial(0.2, **changes), threads=1)
        with pytest.raises(ValueError, match="different kinds, problems or protocols"):
            advance([gd, other, stranger])
    with pytest.raises(ValueError, match="is there twice"):
        advance([gd, other, gd])
    with pytest.raises(ValueError, match="shared by 2 ranks"):
        advance([gd, OngoingTrial(trial(0.2), threads=1, ranks=Two())])
    with pytest.raises(ValueError, match="1 and 2 threads"):
        advance([gd, OngoingTrial(trial(0.2), threads=2)])
    assert math.isnan(gd.at.loss)


@pytest.mark.parametrize("changes", [{}, {"depth": 0}, {"width": 30, "depth": 3}])
def test_what_decides_on_batches_is_what_a_trial_has(trial, changes):
    spec = trial(0.1, **changes)
    posed = spec.problem
    assert parameter_count(posed) == len(OngoingTrial(spec, threads=1).at.theta)
    # With all the memory that it is said to take, a run takes all samples at once.
    assert pose(posed, budget=working_memory(posed))[0].chunks.size == posed.n_train


def test_less_memory_than_a_run_is_said_to_take_needs_smaller_chunks(problem):
    posed = problem(n_train=1000, width=4)
    train, _, _ = pose(posed, budget=working_memory(posed) // 2)
    assert train.chunks.size < posed.n_train
