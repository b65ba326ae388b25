"""What is recorded as a CUDA graph, and when: with a recorder that repeats calls on the CPU.

That the graphs themselves find the same bits is checked where they are made, and by
``benchmarks/gpu.py`` on a GPU.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from jobs import Hessian, OngoingTrial, recordings
from jobs.dynamics import descent
from jobs.ongoing import advance
from jobs.recordings import MOST, WORTH, WORTH_POINTS, TooLargeError

EPSILONS = {"epsilons": (0.4, 0.3), "max_steps": 200}


class Repeating:
    """A recorder that makes the recorded calls again, into the memory of what they gave first."""

    made = 0
    replays = 0

    def warm_up(self, call):
        call()

    def record(self, call):
        Repeating.made += 1
        found = call()
        if callable(found):
            now = [found]

            def again():
                Repeating.replays += 1
                now[0] = call()

            return again, lambda vectors: now[0](vectors)

        def replay():
            Repeating.replays += 1
            for into, tensor in zip(_tensors(found), _tensors(call()), strict=True):
                into.copy_(tensor)

        return replay, found


def _tensors(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.fixture
def recorder(monkeypatch):
    """Everything may be recorded."""
    monkeypatch.setattr(recordings, "may_record", lambda tensor: True)
    monkeypatch.setattr(recordings, "Recorder", Repeating)
    Repeating.made = Repeating.replays = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield Repeating


def test_nothing_is_recorded_on_a_cpu(random_objective):
    objective, theta = random_objective()
    for _ in range(2 * WORTH):
        objective.gradient(theta)
    assert not objective.recordings._kept


def test_what_is_often_computed_is_recorded_and_stays_the_callers_own(recorder, random_objective):
    objective, theta = random_objective()
    plain, _ = random_objective()
    points = [theta * (1 + 0.01 * number) for number in range(WORTH + 5)]
    found = [objective.stacked_gradients(point[None]) for point in points]
    assert (recorder.made, recorder.replays) == (1, 1 + 5)
    for (losses, gradients), point in zip(found, points, strict=True):
        for mine, expected in zip((losses, gradients), plain._gradients(point[None]), strict=True):
            assert torch.equal(mine, expected)


def test_recordings_of_few_shapes_are_kept(recorder, random_objective):
    objective, theta = random_objective()
    for trials in range(1, MOST + 3):
        for _ in range(WORTH):
            objective.stacked_gradients(theta.repeat(trials, 1))
    assert recorder.made == MOST + 2
    assert [shape[0] for _, shape in objective.recordings._kept] == [3, 4, 5, 6]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_operators_at_several_points_do_not_disturb_each_other(
    recorder, random_objective, activation
):
    objective, theta = random_objective(activation=activation)
    plain, _ = random_objective(activation=activation)
    vectors = torch.stack([theta, theta.flip(0)])
    for _ in range(WORTH_POINTS):
        Hessian(objective, theta).products(vectors)
    assert recorder.made == 0
    one, other = Hessian(objective, theta), Hessian(objective, 2 * theta)
    assert recorder.made == 2  # what is made ready, and a product
    for hessian, point in ((one, theta), (other, 2 * theta), (one, theta)):
        expected = [
            objective.apart().closed_form.hessians(point[None])(vector[None, None])[0, 0]
            for vector in vectors
        ]
        assert torch.equal(hessian.products(vectors), torch.stack(expected))
    assert plain.hvps == 0
    assert objective.hvps == 2 * (WORTH_POINTS + 3)


def _fail(message):
    def fail(self, call):
        raise RuntimeError(message)

    return fail


@pytest.mark.parametrize("what", ["gradient", "Hessian"])
def test_where_recording_fails_a_warning_says_so_once_and_nothing_is_recorded(
    recorder, random_objective, monkeypatch, what
):
    objective, theta = random_objective()
    monkeypatch.setattr(Repeating, "record", _fail("operation not permitted\nmore"))

    def compute():
        for _ in range(WORTH):
            objective.gradient(theta) if what == "gradient" else Hessian(objective, theta) @ theta

    with pytest.warns(UserWarning, match=f"the {what} could not .* \\(operation not permitted\\)"):
        compute()
    compute()
    assert (objective.recordings._kept, objective.recordings._operator) == ({}, None)


def test_a_recording_with_other_bits_is_not_used(recorder, random_objective, monkeypatch):
    objective, theta = random_objective()
    record = Repeating.record

    def slightly_off(self, call):
        return record(self, lambda: tuple(tensor * (1 + 1e-15) for tensor in call()))

    monkeypatch.setattr(Repeating, "record", slightly_off)
    with pytest.warns(UserWarning, match="finds other bits"):
        found = [objective.gradient(theta) for _ in range(WORTH + 1)]
    assert all(torch.equal(gradient, found[0][1]) for _, gradient in found)


def test_what_takes_too_much_memory_is_left_as_it_is_without_a_word(
    recorder, random_objective, monkeypatch
):
    def refuse(self, call):
        raise TooLargeError

    objective, theta = random_objective()
    monkeypatch.setattr(Repeating, "warm_up", refuse)
    for _ in range(2 * WORTH):
        objective.gradient(theta)
    assert recorder.made == 0


@pytest.mark.parametrize("rate", [0.01, None])
def test_a_trial_whose_computations_are_recorded_has_the_same_bits(
    trial, monkeypatch, recorder, rate
):
    spec = trial(rate, **EPSILONS)
    recorded = OngoingTrial(spec, threads=1)
    recorded.advance()
    assert recorder.made == 3
    assert recorder.replays > 50
    monkeypatch.undo()
    plain = OngoingTrial(spec, threads=1)
    plain.advance()
    assert recorded.result() == plain.result()


def test_a_batch_whose_computations_are_recorded_has_the_same_bits(trial, monkeypatch, recorder):
    specs = [trial(rate, **EPSILONS) for rate in (0.05, 0.1, 0.2)]
    recorded, plain = ([OngoingTrial(spec, threads=1) for spec in specs] for _ in range(2))
    advance(recorded)
    assert recorder.made >= 1
    monkeypatch.undo()
    advance(plain)
    assert [one.result() for one in recorded] == [one.result() for one in plain]


@pytest.mark.parametrize("rates", [(0.01,), (0.01, 0.02, 0.05)])
def test_blocks_of_steps_are_recorded_as_a_whole_with_the_same_bits(
    trial, monkeypatch, recorder, rates
):
    monkeypatch.setitem(descent.BLOCK, "cpu", 4)
    specs = [trial(rate, trajectory_every=40, **EPSILONS) for rate in rates]
    recorded, plain = ([OngoingTrial(spec, threads=1) for spec in specs] for _ in range(2))
    advance(recorded)
    kept = recorded[0].objective.recordings._kept
    assert {name for name, *_ in kept} == {"the gradient", "a block of 4 steps"}
    monkeypatch.undo()
    advance(plain)  # step by step
    assert [one.result() for one in recorded] == [one.result() for one in plain]


def test_a_block_that_takes_too_much_memory_leaves_the_gradient_recorded(
    recorder, random_objective
):
    objective, theta = random_objective()

    def refuse():
        raise TooLargeError

    for _ in range(WORTH):
        objective.recordings.call("a block", lambda one: (one,), refuse, theta, worth=2)
        objective.stacked_gradients(theta[None])
    assert [name for name, *_ in objective.recordings._kept] == ["the gradient"]
