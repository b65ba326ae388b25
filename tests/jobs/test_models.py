"""The architectures: their sizes, initial values and formulas, and derivatives of them all."""

import math
import re

import pytest
import torch
from torch import nn

from jobs import Problem, SpecError, models
from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.datasets import Shape
from jobs.losses import LOSS_SUMS
from jobs.models.layers import GroupNorm, LayerNorm
from jobs.models.vit import Positions
from jobs.objective import Objective
from jobs.parameterization import initial_parameters
from jobs.parameters import Layout

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}
MNIST, CIFAR, DIGITS = Shape((1, 28, 28), 10), Shape((3, 32, 32), 10), Shape((1, 8, 8), 10)

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


def _usual(architecture, **changes):
    """A problem with the usual sizes of an architecture."""
    return Problem(dataset="any", n_train=1, architecture=architecture, **changes)


@pytest.mark.parametrize(
    ("architecture", "shape", "count"),
    [
        ("cnn", CIFAR, 30_634),
        ("cnn", MNIST, 25_258),
        ("vit", CIFAR, 661_802),
        # The first convolution; 3 stages of 3 blocks, each with two normalisations and two
        # convolutions; two shortcuts; a normalisation; the head.
        (
            "resnet",
            CIFAR,
            27 * 16
            + 3 * (4 * 16 + 2 * 9 * 16 * 16)
            + (2 * 16 + 2 * 32 + 9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
            + 2 * (4 * 32 + 2 * 9 * 32 * 32)
            + (2 * 32 + 2 * 64 + 9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
            + 2 * (4 * 64 + 2 * 9 * 64 * 64)
            + 2 * 64
            + 650,
        ),
        ("diagonal", Shape((7,), 1), 7),
        ("diagonal-difference", Shape((7,), 1), 14),
    ],
)
def test_number_of_parameters_of_the_built_in_networks(architecture, shape, count):
    assert Layout.of(models.build(_usual(architecture), shape)).size == count


@pytest.mark.parametrize("architecture", ["fcn", "cnn", "resnet", "vit"])
def test_a_network_takes_no_storage(architecture):
    network = models.build(_usual(architecture), DIGITS)
    assert all(parameter.is_meta for parameter in network.parameters())
    assert list(network.buffers()) == []


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
    return initial_parameters(problem, Shape((features,), 10))


@pytest.mark.parametrize(
    ("features", "width", "depth", "seed"),
    [
        (64, 8, 0, 0),
        (64, 7, 1, 1),
        (784, 200, 2, 0),
        (3072, 33, 4, 2**40),
        (1, 1, 3, 5),
        (3, 2, 1, 2**63 - 1),
    ],
)
def test_theta0_is_what_pytorch_draws_after_manual_seed(problem, features, width, depth, seed):
    spec = problem(width=width, depth=depth, seed=seed, dtype="float32")
    assert torch.equal(_theta0(spec, features), _default_network(features, spec))


def test_theta0_is_the_same_point_in_float64(problem):
    single, double = _theta0(problem(dtype="float32")), _theta0(problem(dtype="float64"))
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    assert torch.equal(single.double(), double)


def test_theta0_does_not_depend_on_the_dtype_that_torch_uses_by_default(problem):
    expected = _theta0(problem())
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(_theta0(problem()), expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("scale", [0.5, 1 / 3, 4])
def test_init_scale_multiplies_theta0_in_the_problems_dtype(problem, scale):
    drawn = _theta0(problem(dtype="float32"))
    single = _theta0(problem(dtype="float32", init_scale=scale))
    assert torch.equal(single, drawn * scale)
    assert torch.equal(_theta0(problem(dtype="float64", init_scale=scale)), drawn.double() * scale)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float32", 1e39), ("float32", 1e-38), ("float32", 1e-300), ("float64", 1e-309)],
)
def test_an_init_scale_that_leads_out_of_the_dtype_is_refused(problem, scale, dtype):
    says = rf"^init_scale is {re.escape(repr(scale))}; it must be so that initial parameters up to"
    with pytest.raises(SpecError, match=says):
        _theta0(problem(init_scale=scale, dtype=dtype))
    assert _theta0(problem(init_scale=1e-30, dtype=dtype)).any()


def test_the_smallest_normal_numbers_are_no_fault():
    found = initial_parameters(_usual("diagonal", init_scale=1e-37), Shape((5,), 1))
    assert torch.equal(found, torch.full_like(found, 1e-37))


def test_every_entry_lies_within_one_over_the_root_of_its_fan_in(problem):
    spec = problem(width=50, depth=1)
    layout = Layout.of(models.build(spec, Shape((64,), 10)))
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


@pytest.mark.parametrize("architecture", ["diagonal", "diagonal-difference"])
def test_a_diagonal_network_starts_at_alpha(architecture):
    theta = initial_parameters(_usual(architecture, init_scale=0.01), Shape((5,), 1))
    assert torch.equal(theta, torch.full_like(theta, 0.01))


@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_the_head_starts_at_zero(architecture):
    network = models.draw(_usual(architecture), DIGITS)
    assert torch.count_nonzero(network(torch.randn(3, 64))) == 0
    assert sum(bool(torch.count_nonzero(p) == 0) for p in network.parameters() if p.dim() > 1) == 1


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_a_diagonal_network_is_its_formula(depth):
    network = models.draw(_usual("diagonal", depth=depth), Shape((3,), 1))
    network.weight.data = torch.tensor([1.0, -2.0, 0.5])
    (output,) = network(torch.tensor([[3.0, 1.0, 4.0]]))
    assert output.tolist() == [3 + (-2) ** depth + 4 * 0.5**depth]


def test_a_difference_of_diagonals_is_its_formula():
    network = models.draw(_usual("diagonal-difference"), Shape((2,), 1))
    network.u.data, network.v.data = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    assert network(torch.tensor([[1.0, 10.0]])).tolist() == [[8 - 30]]


def test_images_come_by_channel_row_and_column():
    # With a kernel that picks the second channel, the first pooled pixel is that channel's maximum.
    network = models.draw(_usual("cnn", width=1, depth=1), Shape((2, 2, 2), 1))
    _, convolution, _, _, _, head = network
    for parameter in network.parameters():
        parameter.data.zero_()
    convolution.weight.data[0, 1, 1, 1] = head.weight.data[0, 0] = 1
    assert network(torch.tensor([[9.0, 9, 9, 9, 1, 2, 4, 3]])).tolist() == [[4]]


def test_patches_are_squares_of_neighbouring_pixels():
    patches = models.draw(_usual("vit"), Shape((2, 8, 12), 10))[:2]
    image = torch.arange(2 * 8 * 12.0).view(2, 8, 12)
    found = patches(image.reshape(1, -1))
    assert found.shape == (1, 6, 32)
    for number, (row, column) in enumerate((r, c) for r in (0, 4) for c in (0, 4, 8)):
        expected = image[:, row : row + 4, column : column + 4]
        assert sorted(found[0, number].tolist()) == sorted(expected.reshape(-1).tolist())


def test_positions_are_sines_and_cosines_of_column_and_row():
    found = Positions(3, 5)(torch.zeros(15, 16, dtype=torch.float64)).view(3, 5, 4, 4)
    for wave in range(4):
        omega = 10_000 ** (-wave / 3)
        for place, part in ((4, 0), (2, 2)):  # the last column, and the last row
            sine, cosine = found[2, 4, part, wave], found[2, 4, part + 1, wave]
            assert float(sine) == pytest.approx(math.sin(place * omega), abs=1e-14)
            assert float(cosine) == pytest.approx(math.cos(place * omega), abs=1e-14)


def test_normalisations_are_those_of_torch():
    torch.manual_seed(0)
    tokens, images = torch.randn(3, 5, 16).double(), torch.randn(3, 16, 4, 4).double()
    for mine, theirs, values in (
        (LayerNorm(16), nn.LayerNorm(16), tokens),
        (GroupNorm(8, 16), nn.GroupNorm(8, 16), images),
    ):
        mine.double()
        for parameter in mine.parameters():
            parameter.data.uniform_(-1, 1)
        theirs.double().load_state_dict(mine.state_dict())
        torch.testing.assert_close(mine(values), theirs(values), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("architecture", "shape", "changes", "says"),
    [
        ("cnn", DIGITS, {"depth": 4}, "depth is 4; it must be at most 3 for images of 8×8"),
        ("cnn", MNIST, {"depth": 5}, "depth is 5; it must be at most 4 for images of 28×28"),
        ("vit", Shape((3, 30, 32), 10), {}, "images of 30×32: its patches are 4×4"),
        ("resnet", Shape((64,), 10), {}, r"samples of shape \(64,\): no images"),
    ],
)
def test_images_that_do_not_fit_are_refused(architecture, shape, changes, says):
    with pytest.raises(SpecError, match=says):
        models.build(_usual(architecture, **changes), shape)


@pytest.mark.parametrize("architecture", ["resnet", "vit"])
def test_a_width_that_cannot_be_split_is_refused(architecture):
    with pytest.raises(SpecError, match="width is 12; it must be a multiple of 8 for"):
        _usual(architecture, width=12)
    with pytest.raises(SpecError, match="base_width is 4"):
        _usual(architecture, parameterization="mup", base_width=4)
    assert _usual("cnn", width=12).width == 12


NETWORKS = [
    *(("fcn", Shape((6,), 3), {"width": 5, "activation": name}) for name in ACTIVATIONS),
    ("cnn", Shape((2, 7, 6), 3), {"width": 3, "activation": "relu"}),
    ("cnn", Shape((1, 8, 8), 3), {"width": 2, "depth": 3, "activation": "tanh"}),
    ("resnet", Shape((1, 8, 8), 3), {"width": 8, "depth": 1, "activation": "gelu"}),
    ("resnet", Shape((1, 8, 8), 3), {"width": 8, "depth": 1, "activation": "relu"}),
    ("vit", Shape((1, 8, 8), 3), {"width": 8, "depth": 1}),
    ("diagonal", Shape((6,), 1), {}),
    ("diagonal", Shape((6,), 1), {"depth": 3}),
    ("diagonal-difference", Shape((6,), 1), {}),
]
EVERY_NETWORK = pytest.mark.parametrize(("architecture", "shape", "changes"), NETWORKS)


def _objective(architecture, shape, changes, chunk_size=None):
    """½ squared error of five random samples, at a random point near the initial one."""
    problem = _usual(architecture, dtype="float64", **changes)
    network = models.build(problem, shape)
    layout, generator = Layout.of(network), torch.Generator().manual_seed(0)
    inputs, targets, moved = (
        torch.randn(*of, generator=generator, dtype=torch.float64)
        for of in ((5, shape.features), (5, shape.outputs), (layout.size,))
    )
    chunks = Chunks(chunk_size, retained=1) if chunk_size else None
    objective = Objective(network, layout, LOSS_SUMS["mse"], inputs, targets, chunks=chunks)
    return objective, initial_parameters(problem, shape) + 0.1 * moved


@EVERY_NETWORK
def test_hessian_products_are_differences_of_the_gradient(architecture, shape, changes):
    objective, theta = _objective(architecture, shape, changes)
    hessian = Hessian(objective, theta)
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        # Small enough that no unit and no maximum crosses a kink; then rounding is 1e-16/h.
        h = 1e-6
        above, below = (objective.gradient(theta + s * h * direction)[1] for s in (1, -1))
        difference, product = (above - below) / (2 * h), hessian @ direction
        assert float((product - difference).norm()) <= 1e-7 * float(product.norm())


@EVERY_NETWORK
def test_chunks_add_up_to_the_whole(architecture, shape, changes):
    whole, theta = _objective(architecture, shape, changes)
    parts, _ = _objective(architecture, shape, changes, chunk_size=2)
    (loss, gradient), (same_loss, same) = whole.gradient(theta), parts.gradient(theta)
    assert same_loss == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(same, gradient, rtol=1e-10, atol=1e-12)
    products = [Hessian(objective, theta) @ gradient for objective in (whole, parts)]
    scale = float(products[0].abs().max())
    torch.testing.assert_close(products[1], products[0], rtol=1e-9, atol=1e-12 * scale)


@EVERY_NETWORK
def test_stacked_gradients_are_those_of_every_row(architecture, shape, changes):
    objective, theta = _objective(architecture, shape, changes, chunk_size=3)
    thetas = torch.stack([theta, 1.1 * theta])
    losses, gradients = objective.stacked_gradients(thetas)
    for row, point in enumerate(thetas):
        loss, gradient = objective.gradient(point)
        assert float(losses[row]) == pytest.approx(loss, rel=1e-11)
        torch.testing.assert_close(gradients[row], gradient, rtol=1e-9, atol=1e-11)
