"""ntk and mup: their factors, SGD as the package mup does it, and what grows with the width.

The coordinate checks train networks of several widths for a few steps at a fixed η, and fit the
slope of log(change of activations) against log(width). What the slopes must be follows from one
step of GD in a network of width n: with δ the gradient with respect to a layer's outputs, h its
inputs and h' those of another sample, the outputs change by multiplier² · η δ (h·h'), and h·h' ~ n
behind the first layer.
"""

import itertools
import math

import mup
import numpy as np
import pytest
import torch
from torch import nn

from jobs import OngoingTrial, Problem, SpecError, models
from jobs.curvature.hessian import Hessian
from jobs.datasets import Shape
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.parameterization import Scaling, initial_parameters, multipliers, scalings
from jobs.parameters import Layout

SCALED = pytest.mark.parametrize("parameterization", ["ntk", "mup"])


def _usual(architecture, **changes):
    return Problem(dataset="any", n_train=1, architecture=architecture, **changes)


def _posed(problem, shape, samples=4):
    """The objective of random samples, and θ0."""
    network, generator = models.build(problem, shape), torch.Generator().manual_seed(100)
    dtype = getattr(torch, problem.dtype)
    inputs, targets = (
        torch.randn(samples, size, generator=generator, dtype=dtype)
        for size in (shape.features, shape.outputs)
    )
    factors = multipliers(problem, shape)
    objective = Objective(
        network, Layout.of(network), LOSS_SUMS["mse"], inputs, targets, multipliers=factors
    )
    return objective, initial_parameters(problem, shape)


# 16 times the base width: √16 = 4. A first layer's bias has a fan-in that stays.
FCN = {
    "ntk": {
        "2.weight": (4, 1 / 4),
        "2.bias": (4, 1),
        "4.weight": (4, 1 / 4),
        "4.bias": (4, 1),
        "0.weight": (1, 1),
        "0.bias": (1, 1),
    },
    "mup": {
        "0.weight": (1 / 4, 4),
        "0.bias": (1 / 4, 4),
        "2.weight": (1, 1),
        "2.bias": (1, 4),
        "4.weight": (1, 1 / 4),
        "4.bias": (4, 1),
    },
}


@SCALED
def test_the_factors_of_a_fully_connected_network(parameterization):
    problem = _usual("fcn", width=32, base_width=2, parameterization=parameterization)
    expected = {name: Scaling(*pair) for name, pair in FCN[parameterization].items()}
    assert scalings(problem, Shape((5,), 3)) == expected


def test_the_factors_of_a_convolutional_network_are_those_of_its_channels():
    problem = _usual("cnn", width=32, base_width=2, parameterization="mup")
    found = scalings(problem, Shape((3, 8, 8), 10))
    assert found["1.weight"] == found["1.bias"] == Scaling(1 / 4, 4)
    assert found["4.weight"] == Scaling(1, 1)
    assert found["8.weight"] == Scaling(1, 1 / 4)
    assert found["8.bias"] == Scaling(4, 1)


def test_the_factors_of_a_vision_transformer():
    problem = _usual("vit", width=128, base_width=8, depth=1, parameterization="mup")
    found = scalings(problem, Shape((1, 8, 8), 10))
    # The normalisation of raw patches does not grow, and is not scaled.
    names = set(Layout.of(models.build(problem, Shape((1, 8, 8), 10))).names)
    assert names - found.keys() == {"2.weight", "2.bias"}
    for vector in ("3.weight", "3.bias", "4.weight", "6.branch.norm.bias", "9.weight"):
        assert found[vector] == Scaling(1 / 4, 4)
    for matrix in ("6.branch.to_qkv", "6.branch.to_out", "7.branch.1", "7.branch.3"):
        assert found[f"{matrix}.weight"] == Scaling(1, 1)
    assert found["7.branch.1.bias"] == Scaling(1, 4)
    assert found["10.weight"] == Scaling(1, 1 / 4)


@SCALED
@pytest.mark.parametrize("architecture", ["fcn", "cnn", "resnet", "vit"])
def test_at_the_base_width_it_is_the_standard_parameterization(architecture, parameterization):
    shape = Shape((1, 8, 8), 10)
    scaled = _usual(architecture, width=16, base_width=16, parameterization=parameterization)
    standard = _usual(architecture, width=16)
    assert multipliers(scaled, shape) == {}
    assert torch.equal(initial_parameters(scaled, shape), initial_parameters(standard, shape))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_ntk_computes_the_same_function_at_the_start_but_for_biases(activation):
    # Without biases the initial function is that of the standard parameterization at any width.
    shape, sizes = Shape((6,), 3), {"width": 12, "activation": activation, "dtype": "float64"}
    outputs = []
    for scaling in ({}, {"parameterization": "ntk", "base_width": 4}):
        objective, theta = _posed(_usual("fcn", **sizes, **scaling), shape)
        for name, view in objective.layout.named(theta).items():
            if "bias" in name:
                view.zero_()
        outputs.append(objective.outputs(objective.layout.named(theta), objective.inputs))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-6, atol=1e-8)


class _Published(nn.Module):
    """A fully connected tanh network as users of the package mup write it."""

    def __init__(self, features, width, depth, outputs):
        super().__init__()
        sizes = [features, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        self.readout = mup.MuReadout(width, outputs)

    def forward(self, inputs):
        for layer in self.hidden:
            inputs = layer(inputs).tanh()
        return self.readout(inputs)


def _published_mup(problem, base_width, shape, inputs, targets, eta, steps):
    """Outputs before and after each step of SGD as the package mup does it."""

    def network(width):
        return _Published(shape.features, width, problem.depth, shape.outputs)

    with torch.random.fork_rng():
        torch.manual_seed(problem.seed)
        net = network(problem.width)
        base, other = network(base_width), network(base_width + 1)
    net.double()  # before mup rescales, so that its factors are not rounded
    mup.set_base_shapes(net, base, delta=other)
    optimizer = mup.MuSGD(net.parameters(), lr=eta)
    found = [net(inputs).detach()]
    for _ in range(steps):
        optimizer.zero_grad()
        ((net(inputs) - targets).square().sum() / 2 / len(inputs)).backward()
        optimizer.step()
        found.append(net(inputs).detach())
    return found


@pytest.mark.parametrize(("width", "base_width"), [(32, 8), (12, 8), (8, 8), (4, 16)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gd_under_mup_is_sgd_of_the_package_mup(width, base_width, depth):
    scaling = {"width": width, "base_width": base_width, "parameterization": "mup"}
    problem = _usual("fcn", depth=depth, activation="tanh", seed=3, dtype="float64", **scaling)
    shape, eta, steps = Shape((5,), 3), 0.3, 10
    objective, theta = _posed(problem, shape)
    data = objective.inputs, objective.labels
    for expected in _published_mup(problem, base_width, shape, *data, eta, steps):
        found = objective.outputs(objective.layout.named(theta), objective.inputs)
        # θ0 is drawn and scaled in float32.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        theta = theta - eta * objective.gradient(theta)[1]


@SCALED
@pytest.mark.parametrize("architecture", ["fcn", "cnn", "resnet", "vit"])
def test_derivatives_are_those_in_the_trained_coordinates(architecture, parameterization):
    scaling = {"width": 16, "base_width": 8, "parameterization": parameterization}
    problem = _usual(architecture, depth=1, dtype="float64", **scaling)
    objective, theta = _posed(problem, Shape((1, 8, 8), 3))
    generator = torch.Generator().manual_seed(0)
    theta += 0.1 * torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
    direction = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
    direction /= direction.norm()
    h, gradient = 1e-6, objective.gradient(theta)[1]
    above, below = theta + h * direction, theta - h * direction
    slope = (objective.evaluate(above).loss - objective.evaluate(below).loss) / (2 * h)
    assert float(gradient @ direction) == pytest.approx(slope, rel=1e-6, abs=1e-8)
    difference = (objective.gradient(above)[1] - objective.gradient(below)[1]) / (2 * h)
    product = Hessian(objective, theta) @ direction
    assert float((product - difference).norm()) <= 1e-7 * float(product.norm())


@SCALED
def test_trials_of_a_batch_are_those_alone(trial, parameterization):
    scaling = {"width": 8, "base_width": 2, "parameterization": parameterization}
    specs = [trial(eta, max_steps=40, **scaling) for eta in (0.02, 0.05)]
    together = [OngoingTrial(spec, threads=1) for spec in specs]
    advance(together)
    for run in together:
        alone = OngoingTrial(run.trial, threads=1)
        alone.advance()
        torch.testing.assert_close(run.at.theta, alone.at.theta, rtol=1e-10, atol=1e-13)


@SCALED
def test_a_network_without_width_has_no_other_parameterization(parameterization, tmp_path):
    own = tmp_path / "own.py"
    scaling = {"width": 8, "base_width": 2, "parameterization": parameterization}
    linear = _usual("fcn", depth=0, **scaling)
    assert (linear.parameterization, linear.base_width) == ("standard", None)
    own.write_text("from torch import nn\ndef make(width):\n    return nn.Linear(5, 3)\n")
    says = r"must be standard for own\.py:make\(width\)@\w+ of width 8, no parameter of which"
    with pytest.raises(SpecError, match=says):
        initial_parameters(_usual(models.custom.named(own, "make"), **scaling), Shape((5,), 3))


def _own(path, text, **changes):
    """A problem with the network that ``make`` of a file with this text makes."""
    path.write_text(f"import torch\nfrom torch import nn\n{text}")
    scaling = {"width": 8, "base_width": 2, "parameterization": "mup"}
    return _usual(models.custom.named(path, "make"), **{**scaling, **changes})


@pytest.mark.parametrize("dims", ["1, 2, width", "width, width"])
def test_a_parameter_that_the_rule_does_not_know_is_named(tmp_path, dims):
    text = (
        "class Net(nn.Linear):\n"
        "    def __init__(self, width):\n"
        "        super().__init__(4, 3)\n"
        f"        self.extra = nn.Parameter(torch.ones({dims}))\n"
        "    def forward(self, inputs):\n"
        "        return super().forward(inputs) * self.extra.sum()\n"
        "def make(width):\n    return Net(width)\n"
    )
    problem = _own(tmp_path / "unknown.py", text)
    with pytest.raises(SpecError, match=r"whose parameter network\.extra of Net has the shape \("):
        scalings(problem, Shape((4,), 3))


FROZEN = """
def make(width):
    layers = [nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    layers += [nn.Linear(width, 3)]
    FREEZE
    return nn.Sequential(*layers)
"""


@pytest.mark.parametrize(
    ("parameterization", "frozen"),
    [
        ("mup", "4.weight"),  # of a fixed fan-out: it would have to be smaller
        ("mup", "2.bias"),  # PyTorch lets it shrink with the fan-in
        ("ntk", "2.bias"),
        ("ntk", "4.bias"),
    ],
)
def test_a_frozen_parameter_that_would_have_to_be_scaled_is_named(
    tmp_path, parameterization, frozen
):
    layer, _, kind = frozen.partition(".")
    text = FROZEN.replace("FREEZE", f"layers[{layer}].{kind}.requires_grad_(False)")
    problem = _own(tmp_path / "frozen.py", text, parameterization=parameterization)
    says = rf"whose parameter network\.{frozen} is frozen \(requires_grad is False\)"
    with pytest.raises(SpecError, match=says):
        scalings(problem, Shape((4,), 3))


@SCALED
def test_frozen_weights_whose_standard_size_is_right_are_taken(tmp_path, parameterization):
    text = FROZEN.replace("FREEZE", "layers[0].requires_grad_(False)")
    problem = _own(tmp_path / "frozen.py", text, parameterization=parameterization)
    free = FROZEN.replace("FREEZE", "")
    trained = _own(tmp_path / "free.py", free, parameterization=parameterization)
    expected = scalings(trained, Shape((4,), 3))
    found = scalings(problem, Shape((4,), 3))
    assert found == {name: expected[name] for name in found}
    assert not any(name.startswith("network.0.") for name in found)


def test_the_bias_beside_a_frozen_weight_is_scaled_as_beside_a_trained_one(tmp_path):
    text = FROZEN.replace("FREEZE", "layers[2].weight.requires_grad_(False)")
    found = scalings(_own(tmp_path / "frozen.py", text), Shape((4,), 3))
    assert found["network.2.bias"] == Scaling(1, 2)  # r_in = r_out = 4


def _slopes(architecture, shape, widths, parameterization, eta, steps, seeds=4, **sizes):
    """By the name of a linear layer or convolution, the slope of its output's change in the width.

    The change, a root of mean squares over outputs, samples and seeds, is that of so many GD steps.
    """
    changes = []
    for width in widths:
        squares = {}
        for seed in range(seeds):
            scaling = {"parameterization": parameterization, "base_width": widths[0]}
            problem = _usual(architecture, width=width, seed=seed, **scaling, **sizes)
            for name, change in _changes(problem, shape, eta, steps).items():
                squares[name] = squares.get(name, 0) + float(change.square().mean())
        changes.append({name: math.sqrt(total) for name, total in squares.items()})
    logs = np.log2(widths)
    return {
        name: np.polyfit(logs, np.log2([at[name] for at in changes]), 1)[0] for name in changes[0]
    }


def _changes(problem, shape, eta, steps):
    objective, theta = _posed(problem, shape)
    outputs = {}
    for name, layer in objective.module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(
                lambda _, __, output, name=name: outputs.update({name: output.detach()})
            )
    objective.evaluate(theta)
    before = dict(outputs)
    for _ in range(steps):
        theta = theta - eta * objective.gradient(theta)[1]
    objective.evaluate(theta)
    return {name: outputs[name] - before[name] for name in outputs}


FAMILIES = {
    "fcn": (Shape((8,), 3), (32, 64, 128, 256, 512), {"depth": 2, "activation": "tanh"}),
    "cnn": (Shape((1, 4, 4), 3), (16, 32, 64, 128), {"depth": 2}),
    "resnet": (Shape((1, 4, 4), 3), (16, 32, 64, 128), {"depth": 1}),
    "vit": (Shape((1, 8, 8), 3), (16, 32, 64, 128), {"depth": 1}),
}
FAMILY = pytest.mark.parametrize("family", FAMILIES)


@FAMILY
def test_under_mup_all_changes_are_independent_of_the_width(family):
    shape, widths, sizes = FAMILIES[family]
    eta = 0.1 if family in ("fcn", "cnn") else 0.05
    slopes = _slopes(family, shape, widths, "mup", eta, 3, **sizes)
    assert all(abs(slope) <= 0.2 for slope in slopes.values()), slopes
    assert abs(np.mean(list(slopes.values()))) <= 0.1


@FAMILY
def test_under_ntk_features_change_the_less_the_wider_the_network(family):
    # (1/n) δ n, with a random head δ ~ 1/√n; the zero one is of order 1/n after a step, as is δ.
    shape, widths, sizes = FAMILIES[family]
    theory, eta = (-0.5, 0.1) if family in ("fcn", "cnn") else (-1.0, 0.02)
    slopes = _slopes(family, shape, widths, "ntk", eta, 3, **sizes)
    head = slopes.pop(list(slopes)[-1])
    assert abs(head) <= 0.15
    assert np.mean(list(slopes.values())) == pytest.approx(theory, abs=0.15)
    assert all(abs(slope - theory) <= 0.3 for slope in slopes.values()), slopes


@pytest.mark.parametrize(
    ("family", "hidden", "theory"),
    [
        # δ n, with a random head δ ~ 1/√n; after a step the zero one is of order 1, and so is δ.
        ("fcn", ["2"], 0.5),
        ("cnn", ["4"], 0.5),
        ("resnet", ["2.branch.5", "3.branch.5", "4.branch.5"], 1.0),
        ("vit", ["6.branch.to_out", "7.branch.3"], 1.0),
    ],
)
def test_in_the_standard_parameterization_features_change_the_more_the_wider(
    family, hidden, theory
):
    shape, widths, sizes = FAMILIES[family]
    # So small that even the widest network is far from its edge of stability, which moves as 1/n.
    eta = 0.003 if family in ("fcn", "cnn") else 0.0005
    slopes = _slopes(family, shape, widths, "standard", eta, 3, **sizes)
    head = slopes[list(slopes)[-1]]
    assert head == pytest.approx(1, abs=0.2)  # η r ‖h‖² ~ n
    for name in hidden:
        assert slopes[name] == pytest.approx(theory, abs=0.3)
