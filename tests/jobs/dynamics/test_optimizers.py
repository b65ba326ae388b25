"""Optimisers beside PyTorch's own, and their edges of stability on quadratics in closed form."""

import dataclasses

import pytest
import torch

from jobs import OngoingTrial, run_trial
from jobs.dynamics.moves import first_moments, move, preconditioner
from jobs.ongoing import advance
from jobs.spec import GD, Optimizer, SpecError

ALL = [
    {"name": "gd"},
    {"name": "heavy_ball", "momentum": 0.9},
    {"name": "nesterov", "momentum": 0.6},
    {"name": "rmsprop", "beta2": 0.9},
    {"name": "adam", "momentum": 0.8, "beta2": 0.95, "damping": 1e-4},
]
BY_NAME = {one["name"]: one for one in ALL}
names = pytest.mark.parametrize("name", BY_NAME)


def _of_torch(name, theta, eta):
    constants = BY_NAME[name]
    momentum = constants.get("momentum", 0.0)
    if name == "adam":
        betas = (momentum, constants["beta2"])
        return torch.optim.Adam([theta], eta, betas=betas, eps=constants["damping"])
    if name == "rmsprop":
        return torch.optim.RMSprop([theta], eta, alpha=constants["beta2"], eps=1e-8)
    return torch.optim.SGD([theta], eta, momentum=momentum, nesterov=name == "nesterov")


@names
def test_iterates_are_those_of_pytorch(trial, name):
    run = OngoingTrial(trial(0.003, optimizer=BY_NAME[name], epsilons=(1e-6,)), threads=1)
    theta = run.at.theta.clone()
    theirs = _of_torch(name, theta, 0.003)
    for _ in range(40):
        theta.grad = run.objective.gradient(theta)[1]
        theirs.step()
    run.advance(lambda: run.step >= 40)
    assert run.step == 40
    assert float((run.at.theta - theta).norm()) <= 1e-12 * float(theta.norm())


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize(
    ("name", "momentum", "edge"),
    [
        ("gd", None, 2.0),
        ("heavy_ball", 0.5, 3.0),
        ("heavy_ball", 0.9, 3.8),
        ("nesterov", 0.5, 1.5),
        ("nesterov", 0.9, 3.8 / 2.8),
    ],
)
def test_on_the_linear_model_the_edge_is_exact(linear_model, trial, name, momentum, edge, factor):
    optimizer = {"name": name, "momentum": momentum}
    assert Optimizer(**optimizer).edge == pytest.approx(edge, rel=1e-15)
    eta = factor * edge / linear_model.sharpness
    spec = trial(eta, depth=0, epsilons=(1e-9,), max_steps=600, optimizer=optimizer)
    row = run_trial(spec, threads=1).crossings[0]
    assert (row.status == "diverged") == (factor > 1)
    assert row.preconditioned_sharpness == row.sharpness
    assert spec.optimizer.chi(eta, linear_model.sharpness) == pytest.approx(factor, rel=1e-14)


@pytest.mark.parametrize("factor", [0.99, 1.01])
@pytest.mark.parametrize(
    ("name", "momentum", "edge"),
    [("rmsprop", None, 2.0), ("adam", 0.0, 2.0), ("adam", 0.5, 6.0), ("adam", 0.9, 38.0)],
)
def test_with_a_constant_preconditioner_the_edge_is_that_of_the_preconditioned_hessian(
    name, momentum, edge, factor
):
    """On ½ θᵀHθ, with v so slow that it stays, and at a step so late that nothing is corrected."""
    torch.manual_seed(0)
    optimizer = Optimizer(name=name, momentum=momentum, beta2=1 - 1e-15)
    assert optimizer.edge == pytest.approx(edge, rel=1e-15)
    factor_of_h = torch.randn(12, 6, dtype=torch.float64)
    hessian = factor_of_h.T @ factor_of_h / 12
    theta, late = torch.randn(6, dtype=torch.float64), 10**18
    squares = torch.rand(6, dtype=torch.float64) + 0.1
    moments = (*first_moments(optimizer, theta)[:-1], squares)
    root = preconditioner(optimizer, late, hessian @ theta, moments).rsqrt()
    assert root == pytest.approx(squares**-0.25, rel=1e-7)
    curvature = float(torch.linalg.eigvalsh(root[:, None] * hessian * root)[-1])
    eta, begin = factor * edge / curvature, theta.norm()
    sizes = torch.tensor([[eta, 1.0]], dtype=torch.float64)
    moments = tuple(moment[None] for moment in moments)
    for _ in range(4_000):
        moves, moments = move(optimizer, sizes, (hessian @ theta)[None], moments)
        theta = theta - moves[0]
        if theta.norm() > 1e2 * begin:
            break
    assert (theta.norm() > 1e2 * begin) == (factor > 1)
    assert (theta.norm() < 1e-2 * begin) == (factor < 1)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_the_preconditioned_sharpness_is_that_of_the_dense_matrix(trial, name):
    run = OngoingTrial(
        trial(0.002, optimizer=BY_NAME[name], n_train=12, width=5, sharpness_rtol=1e-6), threads=1
    )
    run.advance()
    row, at, theta = run.result().crossings[0], run.at, run.at.theta
    assert row.status == "reached"

    def gradient(point):
        return run.objective.gradient(point)[1]

    step = 1e-5
    columns = [
        (gradient(theta + step * unit) - gradient(theta - step * unit)) / (2 * step)
        for unit in torch.eye(len(theta), dtype=torch.float64)
    ]
    hessian = (torch.stack(columns) + torch.stack(columns).T) / 2
    root = preconditioner(run.trial.optimizer, at.step, at.gradient, at.moments).rsqrt()
    expected = float(torch.linalg.eigvalsh(root[:, None] * hessian * root).abs().max())
    assert row.preconditioned_sharpness == pytest.approx(expected, rel=1e-4)
    assert run.trajectory[-1].preconditioned_sharpness == row.preconditioned_sharpness
    assert row.preconditioned_sharpness > 3 * row.sharpness  # P is far from the identity here


@names
def test_a_resumed_trial_has_the_bits_of_a_quiet_one(trial, tmp_path, name):
    spec = trial(0.004, optimizer=BY_NAME[name], trajectory_every=7, max_steps=150)
    whole, run = run_trial(spec, threads=1), OngoingTrial(spec, threads=1)
    for step in (10, 25, 26, 60):
        run.advance(lambda run=run, step=step: run.step >= step)
        run.save(tmp_path / "checkpoint")
        run = OngoingTrial(spec, threads=1)
        run.restore(tmp_path / "checkpoint")
    run.advance()
    assert run.result() == whole
    assert (whole.crossings[0].status == "reached") == (name != "gd" and name != "nesterov")


@names
def test_trials_of_a_batch_have_the_bits_of_trials_alone(trial, name):
    specs = [
        trial(eta, optimizer=BY_NAME[name], seed=seed, trajectory_every=9, max_steps=150)
        for seed, eta in enumerate((0.003, 0.005, 0.004))
    ]
    together = [OngoingTrial(spec, threads=1) for spec in specs]
    together[1].advance(lambda: together[1].step >= 11)  # at steps of their own
    advance(together)
    for one, spec in zip(together, specs, strict=True):
        assert one.result() == run_trial(spec, threads=1)


def test_the_realised_edge_is_that_of_the_step_that_was_made(trial):
    run = OngoingTrial(trial(0.01, optimizer=BY_NAME["adam"], trajectory_every=1), threads=1)
    for _ in range(20):
        loss, gradient = run.at.loss, run.at.gradient
        before = run.at.theta
        run.advance(lambda step=run.step: run.step > step)
        if before is not run.at.theta and len(gradient):
            slope = float(gradient @ (before - run.at.theta))
            expected = 1 + (run.at.loss - loss) / slope
            run.advance(lambda: True)
            assert run.trajectory[-1].step <= run.step
            if run.trajectory[-1].step == run.step:
                assert run.trajectory[-1].realised_edge == pytest.approx(expected, rel=1e-9)


def test_time_goes_on_by_eta_over_one_minus_beta_with_momentum(trial):
    found = {
        name: run_trial(
            trial(1e-3, optimizer=BY_NAME[name], epsilons=(0.3,), max_steps=20_000), threads=1
        ).crossings[0]
        for name in ("gd", "heavy_ball", "nesterov")
    }
    assert found["heavy_ball"].time == pytest.approx(0.01 * found["heavy_ball"].steps, rel=1e-12)
    for name in ("heavy_ball", "nesterov"):  # all follow one flow, to first order in η
        assert found[name].steps < 0.6 * found["gd"].steps
        delay = found[name].time - found["gd"].time  # until the momentum has come up
        beta, each = BY_NAME[name]["momentum"], found[name].time / found[name].steps
        assert -each <= delay <= each * (2 + beta / (1 - beta))


def test_what_computes_the_same_is_equal_and_has_the_name_of_before(trial):
    assert Optimizer(name="heavy_ball", momentum=0) == GD
    assert Optimizer(name="gd", momentum=0.9, beta2=0.1, damping=1e-3) == GD
    assert Optimizer(name="rmsprop", momentum=0.5) == Optimizer(name="rmsprop")
    plain = trial(0.1)
    assert trial(0.1, optimizer={"name": "nesterov", "momentum": 0}).trial_id == plain.trial_id
    others = [trial(0.1, optimizer=one) for one in ALL[1:]]
    assert len({one.trial_id for one in (plain, *others)}) == len(ALL)
    assert len({one.column_id for one in (plain, *others)}) == len(ALL)
    assert len({one.batch_key for one in (plain, *others)}) == len(ALL)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "sgd"}, "name is 'sgd'; it must be one of gd, heavy_ball"),
        ({"name": "adam", "momentum": 1.0}, "momentum is 1.0; it must be from 0 to below 1"),
        ({"name": "heavy_ball", "momentum": -0.1}, "from 0 to below 1"),
        ({"name": "rmsprop", "beta2": "0.9"}, "beta2 is '0.9'; it must be from 0 to below 1"),
        ({"name": "adam", "damping": 0}, "damping is 0; it must be a finite number above 0"),
    ],
)
def test_what_no_optimiser_can_have_is_refused(fields, said):
    with pytest.raises(SpecError, match=said):
        Optimizer(**fields)


def test_a_flow_has_no_optimiser_and_adaptive_ones_no_distance_from_it(trial):
    with pytest.raises(SpecError, match=r"optimizer is 'heavy ball β=0\.9'; it must"):
        trial(None, optimizer={"name": "heavy_ball"})
    with pytest.raises(SpecError, match="also is 'distance_from_flow'; it must be left out"):
        trial(0.1, optimizer={"name": "adam"}, also=("distance_from_flow",))
    spec = trial(0.05, optimizer=BY_NAME["heavy_ball"], also=("distance_from_flow",))
    near = run_trial(dataclasses.replace(spec, learning_rate=1e-3), threads=1).crossings[0]
    far = run_trial(dataclasses.replace(spec, learning_rate=2e-3), threads=1).crossings[0]
    assert far.distance_from_flow == pytest.approx(2 * near.distance_from_flow, rel=0.1)
