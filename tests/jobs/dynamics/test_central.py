"""The central flow: closed forms, its place beside GD, and that it behaves as any other trial."""

import math

import pytest
import torch
from torch import nn

from jobs import OngoingTrial, run_trial
from jobs.dynamics.central import CentralFlow
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.spec import SpecError

ANYWHERE = Bounds(-math.inf, math.inf, 1)
LEVEL = 5.0  # what keeps the losses of the valleys positive
TANH = {"n_train": 300, "width": 24, "depth": 2, "epsilons": (0.1, 0.05)}
ETA_C = 0.13952528511915396  # of TANH: 2 / max S along the flow
BELOW = {"n_train": 100, "depth": 2, "init_scale": 0.5, "epsilons": (0.1,)}
BELOW_ETA_C = 0.2411271101254799  # of BELOW, whose S(θ0) is 0.38 of the flow's largest


def test_a_central_flow_ends_at_its_largest_time(trial):
    eta = 2 * BELOW_ETA_C
    by_time, by_steps = (
        run_trial(trial(eta, kind="central", **bound, **{**BELOW, "epsilons": (1e-9,)}), threads=1)
        for bound in ({"max_time": 5 * eta}, {"max_steps": 5})
    )
    assert by_time.crossings == by_steps.crossings
    assert by_time.crossings[0].status == "max_steps"


class Valley(nn.Module):
    """L = LEVEL − c·w + ½ xᵀM(w)x, M(w) = S + Σ w_n B_n: at x = 0 the Hessian in x is M(w), and w
    goes the way of c until an eigenvalue of M is at 2/η.
    """

    def __init__(self, start, matrices, slope):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(len(matrices), dtype=torch.float64))
        self.x = nn.Parameter(torch.zeros(len(start), dtype=torch.float64))
        for name, value in (("start", start), ("matrices", matrices), ("slope", slope)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, inputs):
        curvature = self.start + torch.einsum("n,nij->ij", self.w, self.matrices)
        loss = LEVEL - self.slope @ self.w + 0.5 * self.x @ curvature @ self.x
        return inputs * loss


def _followed(valley, learning_rate, time, step_length=None):
    """(w, the iterate) of its central flow after a time."""
    one = torch.ones((1, 1), dtype=torch.float64)
    objective = Objective.from_module(valley, lambda outputs, _: outputs.sum(), one, one)
    flow = CentralFlow(objective, learning_rate, 1e-8, step_length=step_length)
    at = Iterate(objective.theta()).evaluated(objective)
    while at.time < time:
        at = flow.move(at, ANYWHERE)
        assert at.ended is None
    return at.theta[: len(valley.w)], at


def test_a_single_eigenvalue_stays_at_the_edge_and_sigma_is_that_of_the_closed_form():
    """S = 1 + w, dw/dt = ½: up to 2/η = 2, where ½ σ² = ½ stops it; L is ½ t lower until then."""
    (w,), at = _followed(Valley([[1.0]], [[[1.0]]], [0.5]), 1.0, 10.0)
    assert float(w) == pytest.approx(1.0, abs=0.01)
    assert at.oscillation == pytest.approx(1.0, rel=0.02)  # σ²/η
    assert at.at_edge == 1
    assert at.loss == pytest.approx(LEVEL - 0.5, abs=0.01)
    assert at.average_loss == at.loss + at.oscillation


def test_below_the_edge_nothing_oscillates():
    (w,), at = _followed(Valley([[1.0]], [[[1.0]]], [0.5]), 1.0, 1.0)
    assert float(w) == pytest.approx(0.5 * at.time, rel=1e-9)
    assert (at.oscillation, at.at_edge) == (0.0, 0)


def test_at_one_constraint_it_slides_along_the_projected_direction():
    """S = 1 + b·w ≤ 2: once it is met, w goes on with c less its part along b."""
    b, c = torch.tensor([2.0, 1.0]).double(), torch.tensor([0.3, 0.4]).double()
    valley = Valley([[1.0]], [[[2.0]], [[1.0]]], [0.3, 0.4])
    w, at = _followed(valley, 1.0, 8.0)
    met = 1.0 / float(b @ c)
    along = c - b * (b @ c) / (b @ b)
    torch.testing.assert_close(w, met * c + (at.time - met) * along, atol=0.01, rtol=0)
    assert at.oscillation == pytest.approx(2 * float(b @ c / (b @ b)), rel=0.02)


def test_two_eigenvalues_at_the_edge_at_once_hold_theta_in_a_corner():
    """c = ½ (σ₁² b₁ + σ₂² b₂) with both positive: w stays where both are at 2/η."""
    first, second = [[2.0, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 1.5]]
    b1, b2 = torch.tensor([2.0, 1.0]), torch.tensor([0.5, 1.5])
    c = (0.5 * (0.4 * b1 + 0.2 * b2)).double()
    valley = Valley([[1.0, 0.0], [0.0, 1.2]], [first, second], c.tolist())
    w, at = _followed(valley, 1.0, 40.0)
    corner = torch.linalg.solve(torch.stack([b1, b2]).double(), torch.tensor([1.0, 0.8]).double())
    torch.testing.assert_close(w, corner, atol=0.01, rtol=0)
    assert at.oscillation == pytest.approx(0.6, rel=0.05)
    assert at.at_edge == 2


def test_an_oscillation_across_two_axes_is_found_with_its_direction():
    """M = [[1 + w₁, w₃], [w₃, 1 + w₂]], c along w₃: the eigenvector at the edge is (1, 1)/√2."""
    matrices = [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    w, at = _followed(Valley([[1.0, 0.0], [0.0, 1.0]], matrices, [0.0, 0.0, 0.5]), 1.0, 4.0)
    after = at.time - 2.0  # met at w₃ = 1
    expected = torch.tensor([-1.0, -1.0, 1.0]).double() * 0.5 * after / 3
    expected[2] += 1.0
    torch.testing.assert_close(w, expected, atol=0.01, rtol=0)
    assert at.oscillation == pytest.approx(2 * 0.5 / 1.5, rel=0.02)


def test_gd_oscillates_as_much_as_it_says():
    """GD in the valley of one eigenvalue, begun near the oscillation that is found: the means of x²
    and of its part of the loss.
    """
    w, x, eta = 1.0, 0.35, 0.02
    squares, parts = [], []
    for step in range(40_000):
        w, x = w + eta * (0.05 - x * x / 2), x - eta * (99 + w) * x
        if step >= 20_000:
            squares.append(x * x)
            parts.append((99 + w) * x * x / 2)
    (end,), at = _followed(Valley([[99.0]], [[[1.0]]], [0.05]), eta, 60.0)
    assert float(end) == pytest.approx(1.0, abs=0.1)
    assert sum(squares) / 20_000 == pytest.approx(at.oscillation * eta, rel=0.01)
    assert sum(parts) / 20_000 == pytest.approx(at.oscillation, rel=0.01)


@pytest.mark.parametrize("share", [0.8, 1.6])
def test_halving_constant_steps_halves_the_error(share):
    """The method is of first order: of a curved constraint, S = 1 + w₁ + w₂², against short steps.

    The steps end together, so that what differs is what the steps did.
    """

    class Curved(Valley):
        def forward(self, inputs):
            x, w = self.x, self.w
            curvature = 1.0 + w[0] + 0.5 * w[1] ** 2
            return inputs * (LEVEL - self.slope @ w + 0.5 * curvature * x[0] ** 2)

    def w_after(step):
        return _followed(Curved([[1.0]], [[[1.0]], [[1.0]]], [0.5, 0.3]), 1.0, 8.0 - 1e-9, step)[0]

    exact = w_after(0.05)
    errors = [float((w_after(step) - exact).norm()) for step in (share, share / 2)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_from_where_it_meets_the_edge_s_is_two_over_eta(trial, factor):
    """The field's demonstration: the top eigenvalue is pinned at 2/η once it has come there."""
    eta = factor * BELOW_ETA_C
    spec = trial(eta, kind="central", trajectory_every=1, **BELOW)
    points = run_trial(spec, threads=1).trajectory
    ratios = [point.sharpness * eta / 2 for point in points]
    met = next(n for n, ratio in enumerate(ratios) if ratio > 0.999)
    assert 0 < met < len(ratios) / 2
    assert max(ratios) < 1.01
    assert min(ratios[met:]) > 0.98
    assert all(ratio > 0.97 for ratio, point in zip(ratios, points, strict=True) if point.at_edge)
    assert sum(point.at_edge > 0 for point in points[met:]) > 0.9 * len(points[met:])


@pytest.mark.parametrize("factor", [1.3, 2.0])
def test_it_is_where_gd_is_on_average(trial, factor):
    """Against GD at the mean of its last two iterates: the bounds are those of what is written in
    docs/central-flow.md, and hold where GD takes more than a hundred steps.
    """
    eta = factor * ETA_C
    central = run_trial(trial(eta, kind="central", **TANH), threads=1).crossings[-1]
    gd = OngoingTrial(trial(eta, **TANH), threads=1)
    gd.advance()
    middle = gd.recorder.middle
    norm, test_loss = float(middle.abs().sum()), float(gd.test.stacked_losses(middle[None])[0])
    assert central.status == "reached"
    assert central.train_loss == pytest.approx(0.05, rel=1e-3)
    assert central.l1_norm == pytest.approx(norm, rel=0.03)
    assert central.test_loss == pytest.approx(test_loss, rel=0.04)
    assert central.time / eta == pytest.approx(gd.step, rel=0.2)


def test_below_the_critical_rate_it_is_the_gradient_flow(trial):
    flow = run_trial(trial(None, **TANH), threads=1)
    central = run_trial(trial(0.9 * ETA_C, kind="central", **TANH), threads=1)
    for one, other in zip(central.crossings, flow.crossings, strict=True):
        assert (one.oscillation, one.at_edge) == (0.0, 0)
        assert one.time == pytest.approx(other.time, rel=1e-3)
        assert one.l1_norm == pytest.approx(other.l1_norm, rel=2e-4)
        assert one.test_loss == pytest.approx(other.test_loss, rel=1e-3)
        assert one.train_loss == pytest.approx(one.data_loss, rel=1e-12)


def test_the_average_loss_meets_its_threshold_and_no_later(trial):
    for row in run_trial(trial(2 * ETA_C, kind="central", **TANH), threads=1).crossings:
        assert row.epsilon * (1 - 1e-3) <= row.train_loss <= row.epsilon
        assert row.oscillation > 0
        assert row.train_loss == pytest.approx(row.data_loss + row.oscillation, rel=1e-12)


def test_where_no_oscillation_holds_the_eigenvalues_it_ends_with_a_reason(linear_model, trial):
    """The Hessian of a quadratic loss is the same everywhere: GD above 2/S diverges."""
    eta = 2.2 / linear_model.sharpness
    (row,) = run_trial(trial(eta, kind="central", depth=0), threads=1).crossings
    assert row.status == "unsolved"
    assert row.reason == "no oscillation holds 1 eigenvalue at 2/η"
    (below,) = run_trial(
        trial(1.8 / linear_model.sharpness, kind="central", depth=0), threads=1
    ).crossings
    assert (below.status, below.reason) == ("reached", None)


def test_it_takes_at_most_the_time_of_so_many_steps_of_gd(trial):
    found = run_trial(trial(2 * ETA_C, kind="central", max_steps=30, **TANH), threads=1)
    assert [row.status for row in found.crossings] == ["max_steps"] * 2
    assert 30 <= found.crossings[-1].time / (2 * ETA_C) < 35


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_trial_has_the_bits_of_a_quiet_one(trial, tmp_path, dtype):
    spec = trial(0.15, kind="central", epsilons=(0.3, 0.2), dtype=dtype)
    whole = run_trial(spec, threads=1)
    assert any(row.oscillation for row in whole.crossings)
    run = OngoingTrial(spec, threads=1)
    for step in (0, 7, whole.crossings[0].steps):
        run.advance(lambda step=step: run.step >= step)
        run.save(tmp_path / "checkpoint")
        again = OngoingTrial(spec, threads=1)
        again.restore(tmp_path / "checkpoint")
        again.advance()
        assert again.result() == whole  # with the counts of evaluations


def test_trials_of_a_batch_have_the_bits_of_trials_alone(trial):
    specs = [
        trial(eta, kind="central", epsilons=(0.3, 0.2), seed=seed)
        for eta, seed in ((0.1, 0), (0.15, 0), (0.2, 1))
    ]
    together = [OngoingTrial(spec, threads=1) for spec in specs]
    advance(together)
    for run, spec in zip(together, specs, strict=True):
        assert run.result() == run_trial(spec, threads=1)


def test_a_central_flow_and_gd_do_not_share_a_batch(trial):
    runs = [OngoingTrial(trial(0.1, kind=kind), threads=1) for kind in ("gd", "central")]
    with pytest.raises(ValueError, match="of different kinds"):
        advance(runs)


def test_the_distance_from_the_flow_is_that_at_equal_time(trial):
    wanted = {"also": ("distance_from_flow",), "epsilons": (0.3, 0.2)}
    below = run_trial(trial(0.05, kind="central", **wanted), threads=1).crossings[-1]
    above = run_trial(trial(0.2, kind="central", **wanted), threads=1).crossings[-1]
    assert below.distance_from_flow < 1e-3 < 10 * 1e-3 < above.distance_from_flow


def test_what_no_central_flow_can_have_is_refused(trial):
    with pytest.raises(SpecError, match="learning_rate"):
        trial(None, kind="central")
    with pytest.raises(SpecError, match="absent for a central flow"):
        trial(0.1, kind="central", optimizer={"name": "heavy_ball", "momentum": 0.5})


def test_it_has_a_name_and_a_column_of_its_own_and_the_flow_of_gd(trial):
    gd, central = trial(0.1), trial(0.1, kind="central")
    assert gd.trial_id != central.trial_id
    assert gd.column_id != central.column_id
    assert gd.flow_id == central.flow_id
