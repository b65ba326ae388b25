"""Convolutions by their trilinear form have torch's values and derivatives, by other kernels."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from jobs.convolutions import ByTheirForm, may_convolve
from jobs.curvature.hessian import Hessian
from jobs.objective import Objective

# function, shapes of inputs and weights, arguments
CALLS = {
    "plain": (functional.conv2d, (2, 3, 6, 5), (4, 3, 3, 2), {}),
    "strides": (functional.conv2d, (2, 3, 7, 6), (4, 3, 3, 3), {"stride": (2, 1), "padding": 1}),
    "dilated": (functional.conv2d, (2, 2, 8, 8), (3, 2, 3, 3), {"dilation": (1, 2), "padding": 2}),
    "groups": (functional.conv2d, (2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": (1, 0)}),
    "depthwise": (functional.conv2d, (2, 3, 5, 5), (3, 1, 3, 3), {"groups": 3, "padding": 1}),
    "1d": (functional.conv1d, (2, 3, 9), (4, 3, 4), {"stride": 2, "padding": 1}),
    "3d": (functional.conv3d, (1, 2, 4, 4, 4), (2, 2, 2, 2, 2), {"padding": 1}),
    "transposed": (
        functional.conv_transpose2d,
        (2, 4, 4, 3),
        (4, 2, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
    ),
    "transposed 1d": (functional.conv_transpose1d, (2, 3, 5), (3, 2, 3), {"dilation": 2}),
}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("call", CALLS)
def test_values_first_and_second_derivatives_are_those_of_torch(call) -> None:
    torch.manual_seed(0)
    function, of_inputs, of_weight, settings = CALLS[call]
    inputs, weight = _random(*of_inputs), _random(*of_weight)
    bias = _random(function(inputs, weight, **settings).shape[1])

    def ours(*tensors: torch.Tensor) -> torch.Tensor:
        with ByTheirForm():
            return function(*tensors, **settings)

    tensors = inputs, weight, bias
    expected = function(*tensors, **settings)
    torch.testing.assert_close(ours(*tensors), expected, rtol=1e-14, atol=1e-15)
    assert gradcheck(ours, tensors)
    assert gradgradcheck(ours, tensors)


class Convolves(nn.Module):
    """As people write them: layers, and convolutions in code."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(6, 2, 3, 3) / 4)
        self.head = nn.Linear(6 * 4 * 4, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = functional.max_pool2d(self.layer(inputs).tanh(), 2)
        hidden = functional.conv2d(hidden, self.weight, padding=1, groups=2).tanh()
        return self.head(hidden.flatten(1))


def _objectives() -> tuple[Objective, Objective]:
    """The same loss with convolutions by their form, and by torch's own derivatives."""
    torch.manual_seed(1)
    net = Convolves().double()
    x, y = torch.randn(20, 1, 8, 8, dtype=torch.float64), torch.randint(10, (20,))
    ours, torchs = (Objective.from_module(net, "ce", x, y, chunk_size=8) for _ in range(2))
    torchs.convolutions = nullcontext
    return ours, torchs


def test_hessian_products_are_those_of_torch_s_double_backward() -> None:
    ours, torchs = _objectives()
    theta = ours.theta()
    vectors = torch.randn(len(theta), 3, dtype=torch.float64)
    expected = Hessian(torchs, theta) @ vectors
    torch.testing.assert_close(Hessian(ours, theta) @ vectors, expected, rtol=1e-12, atol=1e-14)


def test_third_derivatives_are_those_of_torch_s_triple_backward() -> None:
    found = []
    for objective in _objectives():
        inputs, labels = objective.inputs, objective.labels
        part = objective.partial_gradient(objective.theta(), inputs, labels, create_graph=True)
        direction = [torch.full_like(leaf, 0.5) for leaf in part.leaves]
        product = torch.autograd.grad(part.tensors, part.leaves, direction, create_graph=True)
        curvature = sum((p * d).sum() for p, d in zip(product, direction, strict=True))
        found.append(torch.autograd.grad(curvature, part.leaves))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-11, atol=1e-13)


def test_no_second_derivative_is_left_to_torch() -> None:
    """Its weight part has the batch as channels and the whole map as kernel: slow everywhere."""

    def nodes(objective: Objective) -> set[str]:
        part = objective.partial_gradient(
            objective.theta(), objective.inputs, objective.labels, create_graph=True
        )
        known, names = [tensor.grad_fn for tensor in part.tensors], set()
        seen = set(known)
        while known:
            node = known.pop()
            names.add(node.name())
            new = {other for other, _ in node.next_functions if other is not None} - seen
            seen |= new
            known += new
        return names

    ours, torchs = _objectives()
    assert any(name.startswith("ConvolutionBackward") for name in nodes(torchs))
    assert not any(name.startswith("ConvolutionBackward") for name in nodes(ours))


@pytest.mark.parametrize(
    ("shape", "settings"), [((3, 6, 6), {}), ((2, 3, 6, 6), {"padding": "same", "dilation": 2})]
)
def test_what_the_form_does_not_know_stays_as_it_is(shape, settings) -> None:
    inputs, weight = _random(*shape), _random(4, 3, 2, 2)
    with ByTheirForm():
        found = functional.conv2d(inputs, weight, **settings)
    assert found.grad_fn.name().startswith("ConvolutionBackward") or inputs.ndim == 3
    assert torch.equal(found, functional.conv2d(inputs, weight, **settings))


def test_networks_of_plain_layers_are_not_watched() -> None:
    assert not may_convolve(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    assert may_convolve(nn.Sequential(nn.Conv1d(1, 1, 1)))
    assert may_convolve(Convolves())
