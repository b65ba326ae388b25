"""The sharpness measured again and again, of a loss whose Hessian can be changed between."""

import pytest
import torch
from torch import nn

from jobs.curvature.sharpness import AUDIT_EVERY, SharpnessMeter
from jobs.objective import Objective
from jobs.parameters import Layout

SIZE = 20_000


class Squares(nn.Module):
    """½ Σ x θ²: the Hessian of the mean over samples is diag(mean x)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SIZE, dtype=torch.float64))

    def forward(self, inputs):
        return inputs * self.weight**2 / 2


@pytest.fixture
def diagonal():
    """A loss, the diagonal of its Hessian, which can be changed, and a point."""
    generator = torch.Generator().manual_seed(1)
    values = 0.3 * torch.randn(1, SIZE, generator=generator, dtype=torch.float64)
    values[0, :5] = torch.tensor([105.0, 101, 98, 97, 89]).double()
    module = Squares()
    objective = Objective(
        module, Layout.of(module), lambda outputs, _: outputs.sum(), values, torch.tensor([0])
    )
    return objective, values[0], torch.ones(SIZE, dtype=torch.float64)


@pytest.mark.parametrize("grown", [115.0, 130.0, -130.0])
@pytest.mark.parametrize("seed", range(6))
def test_an_eigenvalue_that_the_old_vectors_do_not_see_is_found_before_the_next_audit(
    diagonal, grown, seed
):
    # The old eigenvectors stay exact, and the new one is an axis: nothing but the random rows sees
    # it, and each of them may miss it. Another row each time does not miss it for long.
    objective, values, theta = diagonal
    meter = SharpnessMeter(objective, 1e-3)
    assert meter.measure(theta).sharpness == pytest.approx(105, rel=1e-4)
    where = int(torch.randint(5, SIZE, (1,), generator=torch.Generator().manual_seed(seed)))
    values[where] = grown
    found = [meter.measure(theta) for _ in range(AUDIT_EVERY - 1)]
    assert all(each.converged for each in found)
    assert found[-1].sharpness == pytest.approx(abs(grown), rel=1e-4)


def test_an_audit_depends_on_theta_alone(diagonal):
    objective, values, theta = diagonal
    meter = SharpnessMeter(objective, 1e-3)
    for _ in range(3):
        meter.measure(theta)
    values[7] = 200
    assert meter.measure(theta, audit=True) == SharpnessMeter(objective, 1e-3).measure(theta)


def test_measurements_go_on_from_a_saved_state_with_the_same_bits(diagonal):
    objective, _, theta = diagonal
    meter = SharpnessMeter(objective, 1e-3)
    for _ in range(4):
        meter.measure(theta)
    since_audit, vectors = meter.state()
    ahead = [meter.measure(theta) for _ in range(AUDIT_EVERY)]
    assert [each.products for each in ahead].count(ahead[0].products) < AUDIT_EVERY
    meter.restore(since_audit, vectors)
    assert [meter.measure(theta) for _ in range(AUDIT_EVERY)] == ahead
