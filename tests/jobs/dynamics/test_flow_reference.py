"""The flow beside GD: where it is at any time, and how far GD is from it, by the closed form."""

import pytest
import torch

from jobs import Protocol, run_trial
from jobs.dynamics.flow_reference import FlowReference
from jobs.problem import pose

METHODS = pytest.mark.parametrize("method", ["rk4", "rkc2"])


def _reference(objective, theta0, method="rkc2"):
    return FlowReference(
        objective,
        theta0,
        Protocol(epsilons=(0.1,), flow_method=method, also=("distance_from_flow",)),
    )


def _start(model):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(model.layout.size, generator=generator, dtype=torch.float64) * 0.1


@METHODS
def test_on_the_linear_model_the_flow_is_where_the_closed_form_has_it(linear_model, method):
    theta0 = _start(linear_model)
    flow = _reference(linear_model.objective, theta0, method)
    # From a hundredth of 1/λ_max to where only the slow modes move, and steps are long.
    for time in torch.logspace(-2, 3, 40).tolist():
        time /= linear_model.sharpness
        truth = linear_model.decayed(theta0, torch.exp(-linear_model.eigenvalues * time))
        error = float((flow.at(time) - truth).norm() / truth.norm())
        # The methods' own errors: 1e-4 a step is asked of Chebyshev's; RK4 with h = 1/S is off by
        # 1/120 of the fastest mode after a step, and by next to nothing once that has decayed.
        assert error < {"rk4": 2e-3, "rkc2": 3e-4}[method]


@METHODS
def test_where_the_flow_is_does_not_depend_on_when_it_was_asked_before(random_objective, method):
    objective, theta0 = random_objective(depth=2)
    often, once = (_reference(objective, theta0, method) for _ in range(2))
    for time in torch.linspace(0, 3, 16).tolist():
        seen = often.at(time)
    assert torch.equal(once.at(3.0), seen)


def test_at_time_zero_it_has_not_moved(random_objective):
    objective, theta0 = random_objective()
    flow = _reference(objective, theta0)
    assert torch.equal(flow.at(0.0), theta0)
    assert flow.distance(theta0 + 1, 0.0) == pytest.approx(len(theta0) ** 0.5)


def test_it_does_not_go_back(random_objective):
    objective, theta0 = random_objective()
    flow = _reference(objective, theta0)
    flow.follow(5.0)
    with pytest.raises(ValueError, match=r"time is 0.5; it must be at least "):
        flow.at(0.5)


def test_what_it_evaluates_is_not_counted(random_objective):
    objective, theta0 = random_objective()
    _reference(objective, theta0).at(2.0)
    assert (objective.gradients, objective.hvps) == (0, 0)


@METHODS
@pytest.mark.parametrize("time", [0.0, 0.3, 2.0])
def test_it_goes_on_from_its_state_with_the_same_bits(random_objective, method, time):
    objective, theta0 = random_objective(depth=2)
    whole, first, second = (_reference(objective, theta0, method) for _ in range(3))
    whole.follow(time)
    first.follow(time)
    second.restore(first.state())
    for later in (time, time + 0.01, time + 3):
        assert torch.equal(second.at(later), whole.at(later))


@METHODS
def test_the_distance_of_gd_on_the_linear_model_has_a_closed_form(trial, linear_model, method):
    # After k steps GD's modes have shrunk by (1 - ηλ)^k, the flow's by exp(-ηλk).
    eta = 1.8 / linear_model.sharpness
    spec = trial(
        eta,
        depth=0,
        epsilons=(0.3, 0.15, 0.05),
        also=("distance_from_flow",),
        midpoint=True,
        flow_method=method,
    )
    theta0 = pose(spec.problem)[2]
    modes = linear_model.eigenvalues
    for row in run_trial(spec, threads=1).crossings:
        steps = row.steps
        decays = [(1 - eta * modes) ** (steps - back) for back in (0, 1)]
        at_end = linear_model.decayed(theta0, decays[0])
        at_middle = linear_model.decayed(theta0, sum(decays) / 2)
        truths = {
            "end": at_end - linear_model.decayed(theta0, torch.exp(-eta * modes * steps)),
            "mid": at_middle
            - linear_model.decayed(theta0, torch.exp(-eta * modes * (steps - 0.5))),
        }
        found = {one.point: one.value for one in row.measures}
        size = float(at_end.norm())
        for point, truth in truths.items():
            tolerance = {"rk4": 1e-6, "rkc2": 2e-4}[method] * size
            assert found[point] == pytest.approx(float(truth.norm()), abs=tolerance)
        assert row.distance_from_flow == found["end"] > 1e-3 * size
