"""Networks of the user's own: what is called, what is refused, and a whole trial of one."""

import sys

import pytest
import torch
from support.custom_networks import FILE, HEAD, SHAPE, body, refusal

from jobs import models, run_trial
from jobs.curvature.hessian import Hessian
from jobs.network_requirements import NetworkError
from jobs.parameterization import initial_parameters, multipliers
from jobs.parameters import Layout
from jobs.problem import pose


def test_a_network_gets_samples_in_their_shape_and_the_sizes_that_it_names(own, problem):
    spec = problem(architecture=own(FILE), width=7)
    network = models.build(spec, SHAPE)
    assert Layout.of(network).shapes == ((7,), (7, 1, 3, 3), (7,), (10, 7), (10,))
    assert network(torch.ones(4, 64, dtype=torch.float64)).shape == (4, 10)


def test_all_sizes_can_be_asked_for(own, problem):
    text = "from torch import nn\nasked = []\ndef make(shape, activation, outputs, depth, width):\n"
    text += "    asked.append((shape, activation, outputs, depth, width))\n"
    text += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n"
    spec = problem(architecture=own(text), width=7, depth=3, activation="elu")
    models.build(spec, SHAPE)
    module = sys.modules[f"_eos_network_{spec.architecture[-16:]}"]
    assert set(module.asked) == {((1, 8, 8), "elu", 10, 3, 7)}


def test_theta0_is_drawn_by_the_factory_from_the_seed(own, problem):
    spec = problem(architecture=own(FILE), seed=3, dtype="float32")
    theta = initial_parameters(spec, SHAPE)
    assert torch.equal(theta, initial_parameters(spec, SHAPE))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = sys.modules[f"_eos_network_{spec.architecture[-16:]}"].Bilinear(1, 8, 10)
    expected = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    assert torch.equal(theta, expected)


def test_constants_have_the_dtype_of_the_problem(own, problem):
    network = models.build(problem(architecture=own(FILE)), SHAPE)
    assert network.network.shift.dtype == torch.float64


def test_a_whole_trial(own, trial):
    spec = trial(0.1, architecture=own(FILE), epsilons=(0.44,))
    result = run_trial(spec, threads=1)
    assert result.crossings[0].status == "reached"
    assert result.crossings[0].sharpness_converged
    train, _, theta = pose(spec.problem)
    vector = torch.randn(theta.shape, generator=torch.Generator().manual_seed(1)).double()
    h = 1e-5
    above, below = (train.gradient(theta + sign * h * vector)[1] for sign in (1, -1))
    product = Hessian(train, theta) @ vector
    assert float((product - (above - below) / (2 * h)).norm()) <= 1e-8 * float(product.norm())


def test_it_scales_with_the_width_as_networks_of_this_package(own, problem):
    spec = problem(architecture=own(FILE), width=32, parameterization="mup", base_width=8)
    assert multipliers(spec, SHAPE) == {
        "network.gate": 2.0,
        "network.mix.weight": 2.0,
        "network.mix.bias": 2.0,
        "network.out.weight": 0.5,
    }


def test_a_file_that_was_changed_is_refused(own, problem, tmp_path):
    architecture = own(FILE + "# another\n")
    (tmp_path / "network.py").write_text(FILE + "# changed since\n")
    with pytest.raises(NetworkError, match=r"network\.py has the digest .*; it must be .*changed"):
        models.build(problem(architecture=architecture), SHAPE)


def test_a_file_that_is_not_there_is_refused(own, problem, tmp_path):
    architecture = own(FILE + "# gone\n")
    (tmp_path / "network.py").unlink()
    with pytest.raises(NetworkError, match=r"network\.py cannot be read: No such file.*/network"):
        models.build(problem(architecture=architecture), SHAPE)
    nowhere = f"other.py:make()@{'0' * 16}"
    with pytest.raises(NetworkError, match="no file of digest 0000000000000000 is registered"):
        models.build(problem(architecture=nowhere), SHAPE)


def test_a_file_that_fails_is_named(own):
    says = refusal(own, "import nonsense_that_is_not_there\n")
    assert "network.py failed: ModuleNotFoundError: No module named" in says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "there is no function make in the file"),
        (body("1 / 0"), "the factory failed: ZeroDivisionError"),
        (body("[]"), "the factory returned list; it must return a torch.nn.Module"),
        (
            body("nn.Flatten()", "outputs, heads"),
            "the factory asks for 'heads'; it can have width",
        ),
        (body("nn.Flatten()"), "it has no trainable parameters"),
        (
            body("nn.Sequential(nn.Flatten(), nn.Linear(64, 3))"),
            r"outputs are (3, 3); for inputs of shape (3, 1, 8, 8) they must be of shape (3, 10)",
        ),
        (
            body("nn.Linear(64, outputs)"),
            "on 3 inputs of shape (1, 8, 8) the network failed: RuntimeError: mat1 and mat2",
        ),
        (
            body("nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, outputs))"),
            "module network.1 is BatchNorm1d in training mode, which mixes the samples",
        ),
        (
            HEAD
            + "class Mixing(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return super().forward(inputs.flatten(1) - inputs.mean())\n"
            + "def make(outputs):\n    return Mixing(64, outputs)\n",
            "the outputs of a sample depend on the others",
        ),
        (
            HEAD
            + "class Noisy(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return super().forward(inputs.flatten(1)) + torch.rand(1)\n"
            + "def make(outputs):\n    return Noisy(64, outputs)\n",
            "or on chance",
        ),
        (
            HEAD
            + "import random\ndef make(outputs):\n    network = nn.Linear(64, outputs)\n"
            + "    network.weight.data.fill_(random.random())\n    return network\n",
            "two calls after torch.manual_seed gave different values of network.weight",
        ),
        (
            HEAD
            + "class Once(torch.autograd.Function):\n    @staticmethod\n"
            + "    def forward(ctx, x):\n        ctx.save_for_backward(x)\n        return x**2\n"
            + "    @staticmethod\n    @torch.autograd.function.once_differentiable\n"
            + "    def backward(ctx, g):\n        return 2 * g * ctx.saved_tensors[0]\n"
            + "class Net(nn.Linear):\n    def forward(self, inputs):\n"
            + "        return Once.apply(super().forward(inputs.flatten(1)))\n"
            + "def make(outputs):\n    return Net(64, outputs)\n",
            "its Hessian products are not the differences of its gradients",
        ),
    ],
)
def test_networks_that_cannot_be_used_are_refused_by_name(own, text, says):
    found = refusal(own, text)
    assert "network.py:make: " in found
    assert says in found
