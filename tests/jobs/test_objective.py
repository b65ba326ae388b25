import gc
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.losses import LOSS_SUMS, correct, cross_entropy, half_squared_error
from jobs.objective import Objective
from jobs.parameters import Layout

NETWORKS = pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
LOSSES = pytest.mark.parametrize("loss", ["mse", "ce"])
DEPTHS = pytest.mark.parametrize("depth", [0, 1, 2, 3])


def _unit(size, seed=1):
    vector = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector / vector.norm()


def _dense_hessian(objective, theta):
    """By forward-over-reverse differentiation, column by column: another method than ours."""

    def loss(flat):
        views = dict(zip(objective.layout.names, objective.layout.split(flat), strict=True))
        outputs = functional_call(objective.module, views, (objective.inputs,))
        return objective.loss_sum(outputs, objective.labels) / len(objective.inputs)

    return torch.func.hessian(loss)(theta)


@NETWORKS
@LOSSES
@DEPTHS
def test_gradient_is_that_of_central_differences(random_objective, activation, loss, depth):
    objective, theta = random_objective(activation=activation, loss=loss, depth=depth)
    value, gradient = objective.gradient(theta)
    assert value == pytest.approx(objective.evaluate(theta).loss, rel=1e-13)
    h = 1e-6
    for i in range(0, theta.numel(), 3):
        step = torch.zeros_like(theta)
        step[i] = h
        above, below = objective.evaluate(theta + step), objective.evaluate(theta - step)
        # Truncation h² and rounding 1e-16/h.
        assert float(gradient[i]) == pytest.approx((above.loss - below.loss) / (2 * h), abs=2e-9)


@NETWORKS
@LOSSES
@DEPTHS
def test_hessian_product_is_that_of_differences_of_the_gradient(
    random_objective, activation, loss, depth
):
    objective, theta = random_objective(activation=activation, loss=loss, depth=depth)
    hessian, h = Hessian(objective, theta), 1e-6
    for seed in range(3):
        direction = _unit(theta.numel(), seed)
        _, above = objective.gradient(theta + h * direction)
        _, below = objective.gradient(theta - h * direction)
        difference = (above - below) / (2 * h)
        assert torch.allclose(hessian @ direction, difference, rtol=0, atol=5e-9)


@NETWORKS
@LOSSES
@DEPTHS
def test_hessian_products_are_those_of_the_dense_hessian(random_objective, activation, loss, depth):
    objective, theta = random_objective(activation=activation, loss=loss, depth=depth)
    hessian, dense = Hessian(objective, theta), _dense_hessian(objective, theta)
    assert hessian.shape == dense.shape == (theta.numel(), theta.numel())
    assert hessian.dtype == theta.dtype
    identity = torch.eye(len(dense), dtype=torch.float64)
    columns = torch.stack([hessian @ column for column in identity], dim=1)
    assert torch.allclose(columns, dense, rtol=0, atol=1e-12 * float(dense.abs().max()))


@LOSSES
@pytest.mark.parametrize("chunk_size", [1, 7, 9, 100])
def test_chunks_add_up_to_the_whole(random_objective, loss, chunk_size):
    whole, theta = random_objective(loss=loss, depth=2)
    parts, _ = random_objective(loss=loss, depth=2, chunk_size=chunk_size)
    vector = _unit(theta.numel())
    (loss_whole, gradient_whole), (loss_parts, gradient_parts) = (
        whole.gradient(theta),
        parts.gradient(theta),
    )
    assert loss_parts == pytest.approx(loss_whole, rel=1e-12)
    assert parts.evaluate(theta).loss == pytest.approx(whole.evaluate(theta).loss, rel=1e-12)
    assert parts.evaluate(theta).accuracy == whole.evaluate(theta).accuracy
    _close(gradient_parts, gradient_whole)
    _close(Hessian(parts, theta) @ vector, Hessian(whole, theta) @ vector)


def _close(one, two):
    assert float((one - two).norm()) <= 1e-12 * float(two.norm())


@LOSSES
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_the_hessian_is_symmetric_and_linear(random_objective, loss, chunk_size):
    objective, theta = random_objective(loss=loss, depth=2, chunk_size=chunk_size)
    hessian = Hessian(objective, theta)
    u, v = _unit(theta.numel(), 1), _unit(theta.numel(), 2)
    assert float(u @ (hessian @ v)) == pytest.approx(float(v @ (hessian @ u)), rel=1e-11)
    _close(hessian @ (2 * u - 3 * v), 2 * (hessian @ u) - 3 * (hessian @ v))


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_products_leave_nothing_behind(random_objective, chunk_size):
    objective, theta = random_objective(depth=2, chunk_size=chunk_size)
    before, vector = theta.clone(), _unit(theta.numel())
    hessian = Hessian(objective, theta)
    first = hessian @ vector
    again = hessian @ vector
    tensors = _tensors()
    for _ in range(50):
        again = hessian @ vector
    assert _tensors() == tensors
    assert torch.equal(first, again)
    assert torch.equal(theta, before)
    assert theta.grad is None
    assert not theta.requires_grad
    assert not again.requires_grad
    assert all(parameter.grad is None for parameter in objective.module.parameters())


def _tensors():
    gc.collect()
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def test_squared_error_is_half_the_sum_over_outputs_with_one_hot_targets():
    outputs = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([1, 0])
    # ½(1 + 1 + 0) + ½(1 + 0 + 1)
    assert float(half_squared_error(outputs, labels)) == 2.0


def test_cross_entropy_is_in_nats():
    outputs = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    # −ln ½ − ln ¼
    assert float(cross_entropy(outputs, labels)) == pytest.approx(3 * math.log(2), rel=1e-15)


def test_correct_counts_the_largest_output():
    outputs = torch.tensor([[1.0, 2.0], [5.0, -1.0], [0.0, 1.0]])
    assert correct(outputs, torch.tensor([1, 1, 1])) == 2


@pytest.mark.parametrize(("loss", "by_hand"), [("mse", 0.5), ("ce", math.log(3))])
def test_the_loss_is_the_mean_over_samples(random_objective, loss, by_hand):
    # θ = 0 gives outputs 0: ½·1² per sample, or −ln ⅓.
    objective, theta = random_objective(loss=loss, depth=2, samples=9)
    assert objective.evaluate(torch.zeros_like(theta)).loss == pytest.approx(by_hand, rel=1e-15)


def test_accuracy_is_the_fraction_of_samples_whose_largest_output_is_the_label(random_objective):
    objective, theta = random_objective(samples=8, chunk_size=3)
    views = dict(zip(objective.layout.names, objective.layout.split(theta), strict=True))
    outputs = functional_call(objective.module, views, (objective.inputs,))
    right = sum(
        max(range(3), key=row.__getitem__) == label
        for row, label in zip(outputs.tolist(), objective.labels.tolist(), strict=True)
    )
    assert 0 < right < 8
    assert objective.evaluate(theta).accuracy == right / 8


def test_evaluations_are_counted(random_objective):
    objective, theta = random_objective()
    assert (objective.gradients, objective.hvps) == (0, 0)
    objective.gradient(theta)
    objective.evaluate(theta)
    assert (objective.gradients, objective.hvps) == (1, 0)
    hessian = Hessian(objective, theta)
    assert (objective.gradients, objective.hvps) == (2, 0)
    for _ in range(3):
        _ = hessian @ theta
    assert (objective.gradients, objective.hvps) == (2, 3)


@pytest.mark.parametrize("retained", [0, 1, 3])
def test_what_memory_keeps_changes_neither_counts_nor_bits(random_objective, retained):
    objective, theta = random_objective(chunk_size=4, retained=retained)
    reference, _ = random_objective(chunk_size=4, retained=3)
    product = Hessian(objective, theta) @ theta
    assert (objective.gradients, objective.hvps) == (1, 1)
    assert torch.equal(product, Hessian(reference, theta) @ theta)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_dead_relu_network_has_only_its_last_bias_left(random_objective, chunk_size):
    objective, theta = random_objective(activation="relu", depth=2, chunk_size=chunk_size)
    tensors = objective.layout.split(theta)
    for bias in (tensors[1], tensors[3]):
        bias.fill_(-100.0)
    _, gradient = objective.gradient(theta)
    assert torch.count_nonzero(gradient[:-3]) == 0
    means = torch.nn.functional.one_hot(objective.labels, 3).double().mean(dim=0)
    assert torch.allclose(gradient[-3:], tensors[-1] - means, rtol=1e-13)
    vector = _unit(theta.numel())
    product = Hessian(objective, theta) @ vector
    # The last hidden layer is 0, so that H is the identity on the last bias.
    expected = torch.zeros_like(vector)
    expected[-3:] = vector[-3:]
    assert torch.allclose(product, expected, rtol=0, atol=1e-15)


def test_where_the_gradient_is_zero_the_hessian_still_works(random_objective):
    objective, theta = random_objective(activation="relu", depth=1)
    tensors = objective.layout.split(theta)
    tensors[1].fill_(-100.0)
    tensors[3].copy_(torch.nn.functional.one_hot(objective.labels, 3).double().mean(dim=0))
    _, gradient = objective.gradient(theta)
    assert float(gradient.abs().max()) <= 1e-16
    assert torch.isfinite(Hessian(objective, theta) @ theta).all()


def test_the_linear_model_with_cross_entropy_has_the_textbook_hessian(random_objective):
    objective, theta = random_objective(loss="ce", depth=0, samples=9)
    weight, bias = objective.layout.split(theta)
    p = torch.softmax(objective.inputs @ weight.T + bias, dim=1)
    v = _unit(theta.numel())
    weight_v, bias_v = objective.layout.split(v)
    moved = objective.inputs @ weight_v.T + bias_v
    curved = (p * moved - p * (p * moved).sum(dim=1, keepdim=True)) / 9
    expected = torch.cat([(curved.T @ objective.inputs).reshape(-1), curved.sum(dim=0)])
    _close(Hessian(objective, theta) @ v, expected)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_a_parameter_that_the_network_does_not_use_has_zeros(random_objective, chunk_size):
    class WithSpare(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.used = nn.Linear(2, 2), nn.Linear(4, 3)

        def forward(self, inputs):
            return self.used(inputs).tanh()

    objective, _ = random_objective(samples=9)
    network = WithSpare()
    layout = Layout.of(network)
    chunks = Chunks(chunk_size, retained=0) if chunk_size else None
    spare = Objective(
        network, layout, objective.loss_sum, objective.inputs, objective.labels, chunks=chunks
    )
    theta = _unit(layout.size)
    assert torch.count_nonzero(spare.gradient(theta)[1]) == layout.size - 6
    product = Hessian(spare, theta) @ _unit(layout.size, 2)
    assert torch.count_nonzero(product[:6]) == 0
    assert torch.count_nonzero(product[6:]) == layout.size - 6


@pytest.mark.parametrize(("inputs", "labels"), [(3, 2), (0, 0)])
def test_inputs_and_labels_must_match(random_objective, inputs, labels):
    objective, _ = random_objective()
    with pytest.raises(ValueError, match=f"{inputs} inputs and {labels} labels"):
        type(objective)(
            objective.module,
            objective.layout,
            LOSS_SUMS["mse"],
            torch.zeros(inputs, 4),
            torch.zeros(labels, dtype=torch.int64),
        )
