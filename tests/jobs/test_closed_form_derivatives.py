"""The formulas of networks have autograd's loss, gradient and Hessian products."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from jobs.arguments import loss_sum
from jobs.curvature.hessian import BatchedHessian, Hessian
from jobs.curvature.memory import Chunks
from jobs.losses import LOSS_SUMS
from jobs.models.feedforward import Diagonal, DiagonalDifference
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameters import Layout

FEATURES, SAMPLES = 5, 37
ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.Softplus)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}
"""Of the largest entry. In float32 three layers amplify rounding a hundredfold."""


def _network(activation, depth, outputs, dtype=torch.float64, bias=True):
    sizes = [FEATURES, *[6] * depth, outputs]
    layers = []
    for inputs, units in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, units, bias=bias, dtype=dtype), activation()]
    return nn.Sequential(*layers[:-1])


def _objective(module, loss, *, chunks=None, multipliers=None, inputs=None):
    """n = 80 samples, of which this rank has 37."""
    draw = torch.Generator().manual_seed(1)
    dtype = next(module.parameters()).dtype
    if inputs is None:
        inputs = torch.randn(SAMPLES, FEATURES, generator=draw, dtype=dtype)
    labels = torch.randint(0, 3, (len(inputs),), generator=draw)
    if loss == "logistic":
        labels = (2 * torch.randint(0, 2, (len(inputs), 1), generator=draw) - 1).to(dtype)
    elif loss in ("numbers", "one number"):
        outputs = 3 if loss == "numbers" else 1
        loss, labels = "mse", torch.randn(len(inputs), outputs, generator=draw, dtype=dtype)
    return Objective(
        module,
        Layout.of(module),
        loss_sum(loss),
        inputs,
        labels,
        samples=80,
        chunks=chunks,
        multipliers=multipliers,
    )


def _by_autograd(objective: Objective, monkeypatch) -> Objective:
    """The same without formulas."""
    with monkeypatch.context() as patch:
        patch.setattr("jobs.objective.closed_form_of", lambda *_, **__: None)
        assert objective.closed_form is None  # and so it stays
    return objective


def _points(objective: Objective, count: int) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    size, dtype = objective.layout.size, objective.inputs.dtype
    return torch.randn(count, size, generator=draw, dtype=dtype) / 2


def _close(found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= TOLERANCE[found.dtype] * scale


def _assert_same(objective: Objective, other: Objective) -> None:
    """Loss, gradient, products and evaluation at a point are those of the other."""
    (theta,), vectors = _points(objective, 1), _points(objective, 2)
    loss, gradient = objective.gradient(theta)
    expected_loss, expected = other.gradient(theta)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[theta.dtype])
    _close(gradient, expected)
    _close(Hessian(objective, theta).products(vectors), Hessian(other, theta).products(vectors))
    one, same = objective.evaluate(theta), other.evaluate(theta)
    assert one.loss == pytest.approx(same.loss, rel=TOLERANCE[theta.dtype])
    assert one.accuracy == same.accuracy
    assert (objective.gradients, objective.hvps) == (other.gradients, other.hvps)


@pytest.mark.parametrize("chunks", [None, Chunks(10, retained=2)], ids=["whole", "chunks"])
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("loss", [*LOSS_SUMS, "ce(smoothing=0.2)", "huber(delta=0.4)", "numbers"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_are_those_of_autograd(dtype, activation, loss, depth, chunks, monkeypatch):
    module = _network(activation, depth, 1 if loss == "logistic" else 3, dtype)
    given = {"chunks": chunks, "multipliers": {"0.weight": 1.7, "0.bias": 0.3}}
    objective = _objective(module, loss, **given)
    assert objective.closed_form is not None
    _assert_same(objective, _by_autograd(_objective(module, loss, **given), monkeypatch))


def test_layers_without_bias_and_images_that_are_flattened(monkeypatch):
    layers = _network(nn.Tanh, 2, 3, bias=False)
    images = torch.randn(SAMPLES, 1, 1, FEATURES, dtype=torch.float64)
    module = nn.Sequential(nn.Flatten(), *layers)
    objective = _objective(module, "ce", inputs=images)
    assert objective.closed_form is not None
    _assert_same(objective, _by_autograd(_objective(module, "ce", inputs=images), monkeypatch))


DIAGONAL = [Diagonal(FEATURES, depth) for depth in (1, 2, 3)] + [DiagonalDifference(FEATURES)]


@pytest.mark.parametrize("chunks", [None, Chunks(10, retained=2)], ids=["whole", "chunks"])
@pytest.mark.parametrize("loss", ["logistic", "one number"])
@pytest.mark.parametrize("module", DIAGONAL, ids=["1", "2", "3", "difference"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_of_diagonal_networks_are_those_of_autograd(
    dtype, module, loss, chunks, monkeypatch
):
    module = module.to(dtype)
    objective = _objective(module, loss, chunks=chunks)
    assert objective.closed_form is not None
    _assert_same(objective, _by_autograd(_objective(module, loss, chunks=chunks), monkeypatch))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("loss", [*LOSS_SUMS, "ce(smoothing=0.2)", "diagonal"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_bit_at_a_point_depends_on_the_points_beside_it(activation, loss, dtype):
    module = _network(activation, 2, 1 if loss == "logistic" else 3, dtype)
    if loss == "diagonal":
        module, loss = DiagonalDifference(FEATURES).to(dtype), "logistic"
    _assert_the_same_bits_alone(_objective(module, loss, chunks=Chunks(20, retained=1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "sizes", [(1, 16, 16, 1), (64, 1, 32, 1), (64, 16, 1, 3), (1, 64, 1, 64, 3)]
)
def test_no_bit_depends_on_them_either_where_matrices_are_of_one_row_or_column(sizes, bias, dtype):
    layers = []
    for fan_in, units in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, units, bias=bias, dtype=dtype), nn.Tanh()]
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(201, sizes[0], generator=draw, dtype=dtype)
    for chunk_size in (200, 201):
        _assert_the_same_bits_alone(
            _objective(
                nn.Sequential(*layers[:-1]),
                "one number" if sizes[-1] == 1 else "ce",
                chunks=Chunks(chunk_size, retained=1),
                inputs=inputs,
            )
        )


def _assert_the_same_bits_alone(objective):
    thetas = _points(objective, 5)
    vectors = torch.stack([thetas.flip(0), thetas.roll(1, 0)], dim=1)
    with reproducible(threads=1):
        losses, gradients = objective.stacked_gradients(thetas)
        products = BatchedHessian(objective, thetas).products(vectors)
        test_losses = objective.stacked_losses(thetas)
        for row, theta in enumerate(thetas):
            loss_alone, gradient = objective.gradient(theta)
            assert losses[row].item() == loss_alone
            assert torch.equal(gradients[row], gradient)
            alone = Hessian(objective, theta).products(vectors[row])
            assert torch.equal(products[row], alone)
            assert test_losses[row].item() == objective.evaluate(theta).loss


def test_points_go_through_in_groups_whose_matrices_stay_in_the_cache(monkeypatch):
    module = _network(nn.Tanh, 2, 3)
    one = _objective(module, "ce")
    thetas = _points(one, 5)
    monkeypatch.setattr("jobs.closed_form.fully_connected.CACHED_BYTES", 3 * 15 * SAMPLES * 8 * 2)
    groups = _objective(module, "ce")
    assert groups.closed_form._together == 2  # type: ignore[union-attr]
    for found, expected in zip(
        groups.stacked_gradients(thetas), one.stacked_gradients(thetas), strict=True
    ):
        assert torch.equal(found, expected)
    vectors = thetas[:, None].contiguous()
    products = [BatchedHessian(it, thetas).products(vectors) for it in (groups, one)]
    assert torch.equal(*products)


def test_a_point_that_is_not_finite_disturbs_no_other_and_no_later_one():
    objective = _objective(_network(nn.GELU, 2, 3), "mse")
    thetas = _points(objective, 3)
    _, expected = objective.stacked_gradients(thetas)
    spoilt = thetas.clone()
    spoilt[1] = torch.nan
    losses, gradients = objective.stacked_gradients(spoilt)
    assert losses.isnan().tolist() == [False, True, False]
    assert torch.equal(gradients[::2], expected[::2])
    assert torch.equal(objective.stacked_gradients(thetas)[1], expected)


class _Doubled(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def _hooked() -> nn.Module:
    module = _network(nn.Tanh, 1, 3)
    module[0].register_forward_hook(lambda _, __, output: 2 * output)
    return module


def _frozen() -> nn.Module:
    module = _network(nn.Tanh, 1, 3)
    module[0].bias.requires_grad_(False)
    return module


def _tied() -> nn.Module:
    layer = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    last = nn.Linear(FEATURES, 3, dtype=torch.float64)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), last)


def _of(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    "module",
    [
        _hooked(),
        _frozen(),
        _tied(),
        _of(_Doubled(FEATURES, 3)),
        _of(nn.Linear(FEATURES, 3), nn.Tanh()),
        _of(nn.Linear(FEATURES, 4), nn.Linear(4, 3)),
        _of(nn.Linear(FEATURES, 4), nn.Sigmoid(), nn.Linear(4, 3)),
        _of(nn.Linear(FEATURES, 4), nn.GELU("tanh"), nn.Linear(4, 3)),
        _of(nn.Linear(FEATURES, 4), nn.ELU(alpha=2.0), nn.Linear(4, 3)),
        _of(nn.Linear(FEATURES, 4), nn.Softplus(beta=2.0), nn.Linear(4, 3)),
        _of(nn.Linear(FEATURES, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)),
    ],
    ids=lambda module: str(module).replace("\n", " ")[:40],
)
def test_what_has_no_formulas_is_left_to_autograd(module):
    objective = _objective(module, "ce")
    assert objective.closed_form is None
    (theta,) = _points(objective, 1)
    assert torch.isfinite(objective.gradient(theta)[1]).all()


def test_a_custom_loss_is_left_to_autograd():
    module = _network(nn.Tanh, 1, 3)
    inputs, targets = torch.ones(2, FEATURES).double(), torch.ones(2, 3).double()
    objective = Objective.from_module(module, lambda f, y: (f - y).pow(4).sum(), inputs, targets)
    assert objective.closed_form is None
