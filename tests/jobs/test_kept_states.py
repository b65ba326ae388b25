"""States of a trial that are kept: at thresholds and after given steps, in a batch and alone."""

from __future__ import annotations

import pytest
import torch

from jobs import OngoingTrial
from jobs.dynamics.descent import BLOCK
from jobs.kept_states import Keep
from jobs.ongoing import advance

KEEP = Keep.of(["thresholds", 40, 0, 7])
CHANGES = {"epsilons": (0.4, 0.3), "trajectory_every": 25}


def test_keep_takes_words_and_numbers_of_steps():
    assert Keep(thresholds=True, steps=(0, 7, 40)) == KEEP
    assert [bool(Keep.of(said)) for said in ((), ["thresholds"], [0])] == [False, True, True]
    assert [KEEP.next_after(step) for step in (0, 6, 7, 40)] == [7, 7, 40, None]


def computed(specs, **how):
    """The states of each trial by step, and the results."""
    kept = [{} for _ in specs]

    def keeper(states):
        return lambda state: states.update({state.step: (state.time, state.theta.clone())})

    runs = [
        OngoingTrial(spec, threads=1, keep=KEEP, keeper=keeper(states), **how)
        for spec, states in zip(specs, kept, strict=True)
    ]
    advance(runs)
    return kept, [run.result() for run in runs]


@pytest.mark.parametrize("block", [1, 16])
def test_states_are_those_of_the_iterates_and_change_nothing(trial, monkeypatch, block):
    monkeypatch.setitem(BLOCK, "cpu", block)
    specs = [trial(rate, **CHANGES) for rate in (0.05, 0.1, 0.2)]
    kept, results = computed(specs)
    for spec, states, result in zip(specs, kept, results, strict=True):
        plain = OngoingTrial(spec, threads=1)
        plain.advance()
        assert result == plain.result()
        crossed = {crossing.steps for crossing in result.crossings}
        assert set(states) == {0, 7, *([40] if max(crossed) >= 40 else []), *crossed}
        for step, (time, theta) in states.items():
            assert time == spec.learning_rate * step
            objective, _, start = plain.objective, plain.test, plain._theta0
            by_hand = start.clone()
            for _ in range(step):
                by_hand = by_hand - spec.learning_rate * objective.gradient(by_hand)[1]
            assert torch.equal(theta, by_hand)


def test_a_flow_keeps_thresholds_alone(trial):
    ((states,), (result,)) = computed([trial(None, **CHANGES)])
    assert set(states) == {crossing.steps for crossing in result.crossings}


def test_a_resumed_trial_gives_the_states_after_its_checkpoint_again(trial, tmp_path):
    spec = trial(0.05, **CHANGES)
    ((whole,), _) = computed([spec])
    run = OngoingTrial(spec, threads=1, keep=KEEP, keeper=lambda state: None)
    run.advance(lambda: run.step >= 5)
    run.save(tmp_path / "checkpoint")
    states = {}
    resumed = OngoingTrial(
        spec, threads=1, keep=KEEP, keeper=lambda state: states.update({state.step: state.theta})
    )
    resumed.restore(tmp_path / "checkpoint")
    resumed.advance()
    assert set(states) == set(whole) - {0}
    assert all(torch.equal(theta, whole[step][1]) for step, theta in states.items())
