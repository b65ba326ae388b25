"""Trials of a batch beside the same trials alone: the same steps, rows equal within rounding."""

import dataclasses
import math

import pytest
import torch

from jobs import OngoingTrial
from jobs.curvature.memory import Chunks
from jobs.dynamics.batch import (
    MOST_BYTES,
    TINY_BYTES,
    BatchedDescent,
    most_trials,
    pays,
    stacked_gradients,
)
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


def _same(record, other, rel):
    for field in dataclasses.fields(record):
        mine, its = getattr(record, field.name), getattr(other, field.name)
        if isinstance(mine, float) and isinstance(its, float):
            # A residual is what is left of two numbers of the size of the sharpness, 1 in its unit.
            # That of λ_min is in units of λ_min, which may be a hundred times smaller.
            least = 100 * rel if "residual" in field.name else 1e-13
            assert mine == pytest.approx(its, rel=rel, abs=least), field.name
        elif field.name == "measures":
            for one, another in zip(mine, its, strict=True):
                _same(one, another, rel)
        else:
            assert mine == its, field.name


def _same_results(runs, alone, rel=1e-9):
    """Every field: numbers within rounding; steps, statuses, counts, and what is None exactly."""
    for run in runs:
        mine, its = run.result(), alone(run.trial)
        for name in ("crossings", "trajectory"):
            for record, other in zip(getattr(mine, name), getattr(its, name), strict=True):
                _same(record, other, rel)


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
    pack = BatchedDescent(runs)
    assert sorted(map(id, pack.advance())) == sorted(map(id, runs))
    assert pack.running == ()
    _same_results(runs, alone)


def test_further_measures_of_a_batch_are_those_of_its_trials_alone(trial, alone):
    asked = {"also": FURTHER_MEASURES, "eigenvalues": 2, "midpoint": True, "probes": 3}
    runs = _runs(trial, rates=(0.5, 0.05, 0.31), **asked)
    BatchedDescent(runs).advance()
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


def test_float32_runs_take_the_same_steps(trial, alone):
    runs = _runs(trial, rates=(0.02, 0.05, 0.1), dtype="float32")
    BatchedDescent(runs).advance()
    for run in runs:
        for row, its in zip(run.result().crossings, alone(run.trial).crossings, strict=True):
            assert (row.status, row.steps) == (its.status, its.steps)
            assert row.sharpness == pytest.approx(its.sharpness, rel=1e-3)
            assert row.distance_from_init == pytest.approx(its.distance_from_init, rel=1e-4)


def test_runs_leave_one_after_the_other(trial):
    runs = _runs(trial)
    pack, left, sizes = BatchedDescent(runs), [], []
    while pack.running:
        here = len(pack.running)
        sizes.append(here)
        ended = pack.advance(lambda here=here: len(pack.running) < here)
        assert all(run.finished for run in ended)
        assert not any(run.finished for run in ended if run in pack.running)
        left += ended
    assert sorted(map(id, left)) == sorted(map(id, runs))
    assert len(sizes) >= 4
    assert sizes == sorted(set(sizes), reverse=True)
    ends = [run.step for run in left]
    assert ends == sorted(ends)


def test_bits_depend_neither_on_companions_nor_on_interruptions(trial, tmp_path):
    together = _runs(trial)
    BatchedDescent(together).advance()
    results = {run.trial: run.result() for run in together}
    interrupted = _runs(trial)
    BatchedDescent(interrupted).advance(lambda: interrupted[1].step >= 30)
    restored = _restored(trial, interrupted, tmp_path)
    BatchedDescent(restored).advance()
    (single,) = _runs(trial, RATES[:1])
    BatchedDescent([single]).advance()
    for run in (*restored, single):
        assert run.result() == results[run.trial]


def test_a_batch_can_be_filled_up_as_trials_leave(trial):
    together, runs = _runs(trial), _runs(trial)
    BatchedDescent(together).advance()
    waiting, going = runs[3:], runs[:3]
    while going:
        pack, full = BatchedDescent(going), len(going)
        pack.advance(lambda pack=pack, full=full: len(pack.running) < full)
        free = 3 - len(pack.running)
        going, waiting = [*pack.running, *waiting[:free]], waiting[free:]
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
    pack = BatchedDescent(runs)
    ended = pack.advance(lambda: max(run.step for run in runs) >= stop)
    assert not any(run.finished for run in pack.running)
    assert len(ended) + len(pack.running) == len(runs)
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
    assert len(BatchedDescent(restored).advance()) == len(runs)
    _same_results(restored, alone)


def test_a_run_that_leaves_keeps_no_memory_of_the_others(trial):
    runs = _runs(trial)
    BatchedDescent(runs).advance()
    for run in runs:
        for vector in (run.at.theta, run.at.previous, run.at.gradient):
            assert vector.untyped_storage().nbytes() == vector.numel() * vector.element_size()


@pytest.mark.parametrize("loss", ["mse", "ce"])
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_stacked_gradients_are_the_gradients_of_every_row(random_objective, loss, chunk_size):
    objective, theta = random_objective(loss=loss, depth=2, chunk_size=chunk_size)
    thetas = torch.stack([theta, 2 * theta, theta - 1])
    before = objective.gradients
    losses, gradients = stacked_gradients(objective, thetas)
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
    losses, gradients = stacked_gradients(objective, thetas)
    thetas[1] = value
    spoilt_losses, spoilt = stacked_gradients(objective, thetas)
    assert not spoilt_losses[1] < 1e200
    for row in (0, 2):
        assert spoilt_losses[row] == losses[row]
        assert torch.equal(spoilt[row], gradients[row])


def test_what_cannot_go_together_is_refused(trial):
    class Two(Alone):
        def __init__(self):
            super().__init__()
            self.size, self.rank = 2, 0

    gd, other = OngoingTrial(trial(0.1), threads=1), OngoingTrial(trial(0.2), threads=1)
    with pytest.raises(ValueError, match="needs at least one"):
        BatchedDescent([])
    flow = trial(None)
    with pytest.raises(ValueError, match=f"{flow.trial_id} is a flow"):
        BatchedDescent([gd, OngoingTrial(flow, threads=1)])
    for changes in ({"width": 9}, {"max_steps": 7}):
        stranger = OngoingTrial(trial(0.2, **changes), threads=1)
        with pytest.raises(ValueError, match="different columns"):
            BatchedDescent([gd, other, stranger])
    with pytest.raises(ValueError, match="is there twice"):
        BatchedDescent([gd, other, gd])
    with pytest.raises(ValueError, match="shared by 2 ranks"):
        BatchedDescent([gd, OngoingTrial(trial(0.2), threads=1, ranks=Two())])
    with pytest.raises(ValueError, match="1 and 2 threads"):
        BatchedDescent([gd, OngoingTrial(trial(0.2), threads=2)])
    assert math.isnan(gd.at.loss)


def test_a_batch_pays_for_small_problems():
    assert pays(parameters=610, samples=50, dtype="float64")
    assert not pays(parameters=656_810, samples=5000, dtype="float32")
    for dtype, width in (("float32", 4), ("float64", 8)):
        assert pays(parameters=1, samples=MOST_BYTES // width, dtype=dtype)
        assert not pays(parameters=1, samples=MOST_BYTES // width + 1, dtype=dtype)


def test_only_the_smallest_problems_go_in_batches_of_more_than_16():
    for dtype, width in (("float32", 4), ("float64", 8)):
        assert most_trials(parameters=1, samples=TINY_BYTES // width, dtype=dtype) == 64
        assert most_trials(parameters=1, samples=TINY_BYTES // width + 1, dtype=dtype) == 16


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
