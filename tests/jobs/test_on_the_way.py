"""What a trajectory has besides losses and sharpness: the gradient, and how each step went."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jobs import Hessian, OngoingTrial, Problem, run_trial
from jobs.dynamics.descent import BLOCK
from jobs.ongoing import advance
from jobs.spec import Protocol, Trial

QUADRATIC = Problem(
    dataset="points(x=[[2, 1], [1, 3]], truth=[0.5, 0.5])", n_train=2, width=1, depth=0,
    dtype="float64",
)  # fmt: skip
EVERY = Protocol(epsilons=(1e-12,), max_steps=30, trajectory_every=1)


def descent(eta, protocol=EVERY, problem=QUADRATIC):
    return Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=eta)


@pytest.mark.parametrize("eta", [0.05, 0.2, 0.35])
def test_on_a_quadratic_the_realised_edge_is_half_of_eta_times_the_curvature_along_the_step(eta):
    """Above the stability limit the loss rises exactly where it is above 1."""
    run = OngoingTrial(descent(eta), threads=1)
    inputs = torch.cat([run.objective.inputs, torch.ones(2, 1, dtype=torch.float64)], dim=1)
    hessian, right = inputs.T @ inputs / 2, inputs.T @ run.objective.labels[:, 0] / 2
    theta, rises = run.at.theta.clone(), 0
    first, *points = run_trial(descent(eta), threads=1).trajectory
    gradient = hessian @ theta - right
    assert (first.loss_rises, first.realised_edge) == (None, None)
    assert first.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-12)
    for point in points:
        curvature = float(gradient @ hessian @ gradient / gradient.square().sum())
        theta = theta - eta * gradient
        gradient = hessian @ theta - right
        rises += eta * curvature > 2
        if point.train_loss > 1e-6:
            assert point.realised_edge == pytest.approx(eta * curvature / 2, rel=1e-6)
            assert point.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-9)
        assert point.loss_rises == rises


def test_steps_that_raise_the_loss_are_counted_between_points_too():
    dense = run_trial(descent(0.35), threads=1).trajectory
    sparse = run_trial(
        descent(0.35, dataclasses.replace(EVERY, trajectory_every=7)), threads=1
    ).trajectory
    by_step = {point.step: point for point in dense}
    assert sparse[-1].loss_rises > 0
    for point in sparse:
        assert point == dataclasses.replace(
            by_step[point.step], sharpness=point.sharpness, lambda_min=point.lambda_min
        )


def test_a_flow_has_neither_rises_nor_a_realised_edge(trial):
    for point in run_trial(trial(None), threads=1).trajectory:
        assert (point.loss_rises, point.realised_edge) == (None, None)
        assert point.gradient_norm > 0


@pytest.mark.parametrize("block", [1, 4])
def test_they_are_the_same_in_a_batch_and_after_a_stop(trial, tmp_path, monkeypatch, block):
    specs = [trial(rate, epsilons=(0.2,), trajectory_every=9) for rate in (0.05, 0.3, 0.9)]
    alone = [run_trial(spec, threads=1) for spec in specs]
    monkeypatch.setitem(BLOCK, "cpu", block)
    runs = [OngoingTrial(spec, threads=1) for spec in specs]
    advance(runs, lambda: runs[0].step >= 25)
    for number, run in enumerate(runs):
        run.save(tmp_path / str(number))
    resumed = [OngoingTrial(spec, threads=1) for spec in specs]
    for number, run in enumerate(resumed):
        run.restore(tmp_path / str(number))
    advance(resumed)
    assert [run.result() for run in resumed] == alone
    assert max(result.trajectory[-1].loss_rises for result in alone) > 0


def test_leading_eigenvalues_at_each_point_are_those_of_the_hessian_there(trial):
    """By a dense Hessian at the last iterate, whose state the run still has."""
    spec = trial(0.1, epsilons=(0.3,), trajectory_every=15, trajectory_eigenvalues=3, width=4)
    run = OngoingTrial(spec, threads=1)
    run.advance()
    result = run.result()
    assert [one.step for one in result.spectra] == [point.step for point in result.trajectory]
    theta = run.at.theta
    identity = torch.eye(len(theta), dtype=theta.dtype)
    dense = Hessian(run.objective.apart(), theta).products(identity)
    values = torch.linalg.eigvalsh(dense)
    largest = values[values.abs().argsort(descending=True)[:3]]
    assert result.spectra[-1].values == pytest.approx(largest.tolist(), rel=1e-4)
    for one, point in zip(result.spectra, result.trajectory, strict=True):
        assert abs(one.values[0]) == pytest.approx(point.sharpness, rel=1e-4)
        assert max(one.residuals) <= 1e-3


def test_they_change_nothing_else_but_the_products(trial):
    asked = trial(0.3, epsilons=(0.2,), trajectory_every=30, trajectory_eigenvalues=2)
    plain = trial(0.3, epsilons=(0.2,), trajectory_every=30)
    assert asked.trial_id != plain.trial_id
    found, expected = run_trial(asked, threads=1), run_trial(plain, threads=1)
    assert found.trajectory == expected.trajectory
    for mine, theirs in zip(found.crossings, expected.crossings, strict=True):
        assert mine.hvps > theirs.hvps
        assert dataclasses.replace(mine, hvps=theirs.hvps) == theirs
    assert expected.spectra == ()


def test_a_resumed_batch_has_the_spectra_of_undisturbed_trials(trial, tmp_path):
    specs = [
        trial(rate, epsilons=(0.25,), trajectory_every=9, trajectory_eigenvalues=2)
        for rate in (0.05, 0.3)
    ]
    alone = [run_trial(spec, threads=1) for spec in specs]
    runs = [OngoingTrial(spec, threads=1) for spec in specs]
    advance(runs, lambda: runs[0].step >= 20)
    resumed = [OngoingTrial(spec, threads=1) for spec in specs]
    for number, (run, again) in enumerate(zip(runs, resumed, strict=True)):
        run.save(tmp_path / str(number))
        again.restore(tmp_path / str(number))
    advance(resumed)
    assert [run.result() for run in resumed] == alone
