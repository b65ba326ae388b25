import math

import pytest
import torch
from torch import nn

from jobs import Problem, models
from jobs.datasets import Shape
from jobs.parameterization import initial_parameters
from jobs.parameters import Layout

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}

# Computed for the published architecture from the shapes of its layers, (features + 1)·width and
# so on; MNIST has 784 features, CIFAR-10 3,072.
PARAMETERS = [
    (784, 64, 2, 55_050),
    (784, 128, 2, 118_282),
    (784, 200, 2, 199_210),
    (784, 256, 2, 269_322),
    (784, 512, 2, 669_706),
    (784, 1024, 2, 1_863_690),
    (784, 200, 1, 159_010),
    (784, 200, 3, 239_410),
    (784, 200, 4, 279_610),
    (3072, 64, 2, 201_482),
    (3072, 128, 2, 411_146),
    (3072, 200, 2, 656_810),
    (3072, 256, 2, 855_050),
    (3072, 512, 2, 1_841_162),
    (3072, 1024, 2, 4_206_602),
    (3072, 200, 1, 616_610),
    (3072, 200, 3, 697_010),
    (3072, 200, 4, 737_210),
]


@pytest.mark.parametrize(("features", "width", "depth", "count"), PARAMETERS)
def test_number_of_parameters(problem, features, width, depth, count):
    network = models.build(problem(width=width, depth=depth), Shape((features,), 10))
    assert Layout.of(network).size == count


def test_a_network_takes_no_storage(problem):
    network = models.build(problem(), Shape((64,), 10))
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_layers(problem, activation, depth):
    network = models.build(problem(width=8, depth=depth, activation=activation), Shape((64,), 10))
    kinds = [type(layer) for layer in network.children()]
    assert kinds == [nn.Linear, ACTIVATIONS[activation]] * depth + [nn.Linear]


def test_layout_splits_without_a_copy_and_joins_back(problem):
    layout = Layout.of(models.build(problem(width=8, depth=1), Shape((64,), 10)))
    assert layout.shapes == ((8, 64), (8,), (10, 8), (10,))
    flat = torch.arange(float(layout.size))
    pieces = layout.split(flat)
    assert torch.equal(layout.join(pieces), flat)
    pieces[1][0] = -1
    assert flat[8 * 64] == -1


def _default_network(features: int, problem: Problem) -> torch.Tensor:
    """θ of a network as PyTorch itself initialises it after ``torch.manual_seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(problem.seed)
        layers, inputs = [], features
        for _ in range(problem.depth):
            layers += [nn.Linear(inputs, problem.width), nn.Tanh()]
            inputs = problem.width
        network = nn.Sequential(*layers, nn.Linear(inputs, 10))
    return torch.cat([parameter.detach().reshape(-1) for parameter in network.parameters()])


def _theta0(problem: Problem, features: int = 64) -> torch.Tensor:
    return initial_parameters(models.build(problem, features, 10), problem)


@pytest.mark.parametrize(
    ("features", "width", "depth", "seed"),
    [(64, 8, 0, 0), (64, 7, 1, 1), (784, 200, 2, 0), (3072, 33, 4, 2**40), (1, 1, 3, 5)],
)
def test_theta0_is_what_pytorch_draws_after_manual_seed(problem, features, width, depth, seed):
    spec = problem(width=width, depth=depth, seed=seed, dtype="float32")
    assert torch.equal(_theta0(spec, features), _default_network(features, spec))


def test_theta0_is_the_same_point_in_float64(problem):
    single, double = _theta0(problem(dtype="float32")), _theta0(problem(dtype="float64"))
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert torch.equal(single.double(), double)


@pytest.mark.parametrize("scale", [0.5, 1 / 3, 4])
def test_init_scale_multiplies_theta0(problem, scale):
    assert torch.equal(_theta0(problem(init_scale=scale)), _theta0(problem()) * scale)


def test_every_entry_lies_within_one_over_the_root_of_its_fan_in(problem):
    spec = problem(width=50, depth=1)
    layout = Layout.of(models.build(spec, 64, 10))
    for tensor, fan_in in zip(layout.split(_theta0(spec)), (64, 64, 50, 50), strict=True):
        bound = 1 / math.sqrt(fan_in)
        assert tensor.abs().max() <= bound * (1 + 1e-7)
        # The largest of ten or more uniform draws is below half the bound once in a thousand.
        assert tensor.abs().max() > 0.5 * bound


def test_seeds_differ(problem):
    assert not torch.equal(_theta0(problem(seed=0)), _theta0(problem(seed=1)))


def test_theta0_does_not_depend_on_the_data_or_the_loss(problem):
    assert torch.equal(_theta0(problem(loss="ce", n_train=7)), _theta0(problem()))


def test_drawing_leaves_the_global_generator_alone(problem):
    before = torch.random.get_rng_state()
    _theta0(problem())
    assert torch.equal(torch.random.get_rng_state(), before)
