"""Sharpness, Hessian and Objective of anybody's module, against torch's own Hessian."""

import doctest
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

import jobs
from jobs import ArgumentError, Hessian, NetworkError, Objective, sharpness
from jobs.curvature import hessian
from jobs.curvature import sharpness as sharpness_module

GUIDE = Path(jobs.__file__).parent.parent / "docs" / "python.md"


class Tied(nn.Module):
    """One weight used twice, a buffer and a frozen parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3) / 2)
        self.register_buffer("shift", torch.linspace(-1, 1, 3))
        self.frozen = nn.Parameter(torch.full((3,), 0.3), requires_grad=False)

    def forward(self, inputs):
        return torch.tanh(inputs @ self.weight + self.shift) @ self.weight.T * self.frozen


def _convolution():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(8, 3))


def _dense():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


def _quartic(outputs, targets):
    return (outputs - targets).pow(4).sum()


def _case(make, loss, dtype=torch.float64, samples=7):
    torch.manual_seed(1)
    module = make().to(dtype)
    inputs = torch.randn(samples, *((1, 4, 4) if make is _convolution else (3,)), dtype=dtype)
    classes, numbers = torch.randint(3, (samples,)), torch.randn(samples, 3, dtype=dtype)
    signs = torch.where(numbers > 0, 1.0, -1.0).to(dtype)
    return module, inputs, {"ce": classes, "logistic": signs}.get(loss, numbers)


MEANS = {
    "mse": lambda outputs, targets: (outputs - targets).square().sum(1).mean() / 2,
    "mse_mean": nn.functional.mse_loss,
    "ce": nn.functional.cross_entropy,
    "logistic": lambda outputs, targets: torch.log1p(torch.exp(-targets * outputs)).sum(1).mean(),
    _quartic: lambda outputs, targets: (outputs - targets).pow(4).sum(1).mean(),
}


def _reference(module, mean, inputs, targets):
    """θ and torch's own dense Hessian of the mean loss."""
    trained = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    theta = torch.cat([p.reshape(-1) for p in trained.values()])

    def loss(flat):
        parts = flat.split([p.numel() for p in trained.values()])
        views = {
            name: part.view_as(trained[name]) for name, part in zip(trained, parts, strict=True)
        }
        return mean(functional_call(module, views, (inputs,)), targets)

    return theta, torch.autograd.functional.hessian(loss, theta)


@pytest.mark.parametrize("loss", list(MEANS), ids=["mse", "mse_mean", "ce", "logistic", "own"])
@pytest.mark.parametrize("make", [_dense, _convolution, Tied])
def test_hessian_and_sharpness_are_those_of_torchs_dense_hessian(make, loss):
    module, inputs, targets = _case(make, loss)
    theta, dense = _reference(module, MEANS[loss], inputs, targets)
    objective = Objective.from_module(module, loss, inputs, targets)
    assert torch.equal(objective.theta(), theta)
    operator = Hessian(objective, theta)
    assert operator.shape == dense.shape
    assert torch.allclose(operator @ torch.eye(len(theta)).double(), dense, rtol=1e-9, atol=1e-12)
    assert torch.allclose(operator.matvec(dense[0]), dense @ dense[0], rtol=1e-9, atol=1e-12)
    found = sharpness(module, loss, inputs, targets, rtol=1e-8)
    every = torch.linalg.eigvalsh(dense)
    assert found.converged
    assert found.residual <= 1e-8
    assert found.value == pytest.approx(float(every.abs().max()), rel=1e-8)
    ends = pytest.approx((float(every[-1]), float(every[0])), rel=1e-6, abs=1e-8)
    assert (found.lambda_max, found.lambda_min) == ends
    residual = dense @ found.eigenvector
    assert float(residual.norm()) == pytest.approx(found.value, rel=1e-6)


def test_float32_and_chunks_give_the_same_numbers():
    module, inputs, targets = _case(_dense, "ce", torch.float32)
    theta, dense = _reference(module, MEANS["ce"], inputs, targets)
    objective = Objective.from_module(module, "ce", inputs, targets, chunk_size=2)
    products = Hessian(objective) @ torch.eye(len(theta))
    assert torch.allclose(products, dense, atol=1e-5)
    loss, gradient = objective.gradient(theta)
    assert loss == pytest.approx(float(MEANS["ce"](module(inputs), targets)), rel=1e-5)
    assert gradient.shape == theta.shape


def test_a_loss_module_of_torch_and_a_single_sample_will_do():
    module, inputs, targets = _case(_dense, "ce")
    summed = nn.CrossEntropyLoss(reduction="sum")
    by_name = sharpness(module, "ce", inputs, targets)  # with formulas of its own
    assert sharpness(module, summed, inputs, targets).value == pytest.approx(by_name.value)
    assert sharpness(module, nn.CrossEntropyLoss(), inputs[:1], targets[:1]).converged


def test_the_module_is_left_as_it_was():
    module, inputs, targets = _case(Tied, "mse")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    sharpness(module, "mse", inputs, targets)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


def _wrong(**changes):
    module, inputs, targets = _case(_dense, changes.get("loss", "ce"), torch.float32)
    given = {"module": module, "loss": "ce", "inputs": inputs, "targets": targets}
    return {
        **given,
        **{k: v(given[k]) if callable(v) and k != "loss" else v for k, v in changes.items()},
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"module": lambda m: m.forward}, "module is method; it must be a torch.nn.Module"),
        ({"module": lambda m: m.half()}, "module is of torch.float16; it must be of torch.float32"),
        (
            {"module": lambda m: m.requires_grad_(False)},
            "module has no parameter with requires_grad",
        ),
        ({"module": lambda m: nn.Sequential(m, nn.Flatten(0))}, r"module returns the shape \(6,\)"),
        ({"inputs": lambda x: x.numpy()}, "inputs is ndarray; it must be a torch.Tensor"),
        ({"inputs": lambda x: x.double()}, r"use inputs.to\(torch.float32\)"),
        ({"inputs": lambda x: x.to("meta")}, "inputs is on meta and module on cpu"),
        ({"inputs": lambda x: x[:, :2]}, r"module fails on inputs of the shape \(2, 2\)"),
        ({"inputs": lambda x: x[:3]}, "first dimension of both must be the number of samples"),
        ({"inputs": lambda x: x[:0], "targets": lambda y: y[:0]}, "samples, at least 1"),
        ({"targets": lambda y: y.float()}, r"it must be classes of the shape \(samples,\)"),
        ({"targets": lambda y: y + 1}, "targets has classes from . to 3; they must be from 0 to 2"),
        ({"loss": "hinge"}, "loss is 'hinge'; it must be one of mse, mse_mean, ce, logistic"),
        ({"loss": 3}, "loss is 3; it must be a name or a callable"),
        (
            {"loss": nn.functional.cross_entropy},
            "it must be a sum over samples, with reduction='sum'",
        ),
        (
            {"loss": lambda o, t: o},
            r"loss returns \(2, 3\); it must return a tensor with one number",
        ),
        ({"loss": lambda o, t: o @ t}, r"loss fails on outputs of the shape \(2, 3\)"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        sharpness(**_wrong(**changes))


def test_targets_of_another_shape_are_refused_by_name():
    module, inputs, targets = _case(_dense, "mse")
    for loss, wrong in (("mse", targets[:, :2]), ("logistic", targets[:, 0])):
        with pytest.raises(ArgumentError, match="targets has the shape"):
            sharpness(module, loss, inputs, wrong)


def test_batch_normalisation_in_training_mode_is_refused():
    module, inputs, targets = _case(lambda: nn.Sequential(_dense(), nn.BatchNorm1d(3)), "ce")
    with pytest.raises(NetworkError, match="module 1 is BatchNorm1d in training mode"):
        sharpness(module, "ce", inputs, targets)
    assert sharpness(module.eval(), "ce", inputs, targets).converged


def test_shapes_of_theta_operands_and_tolerances_are_checked():
    module, inputs, targets = _case(_dense, "ce")
    objective = Objective.from_module(module, "ce", inputs, targets)
    with pytest.raises(ArgumentError, match=r"theta has the shape \(3,\); it must be \(31,\)"):
        Hessian(objective, torch.zeros(3))
    with pytest.raises(
        ArgumentError, match=r"the operand has the shape \(3,\); it must be \(31,\)"
    ):
        _ = Hessian(objective) @ torch.zeros(3)
    with pytest.raises(ArgumentError, match="rtol is 1e-20; it must be from 1e-14"):
        sharpness(module, "ce", inputs, targets, rtol=1e-20)
    with pytest.raises(ArgumentError, match="chunk_size is 0; it must be at least 1"):
        Objective.from_module(module, "ce", inputs, targets, chunk_size=0)


@pytest.mark.parametrize("module", [hessian, sharpness_module, jobs.objective])
def test_the_examples_of_the_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


def test_the_example_of_the_guide_runs():
    section = GUIDE.read_text().split("\n## ")[1]
    code = "\n".join(re.findall(r"```python\n(.*?)```", section, flags=re.S))
    names: dict[str, object] = {}
    exec(compile(code, str(GUIDE), "exec"), names)
    assert names["found"].converged
    assert names["result"].crossings[0].status == "reached"


def test_progress_of_a_trial_is_shown_on_stderr(trial, capsys):
    spec = trial(epsilons=(0.4,), n_train=20)
    shown = jobs.run_trial(spec, threads=1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "GD at η = " in err
    assert f"{shown.crossings[0].steps} steps" in err
    assert shown == jobs.run_trial(spec, threads=1)


@pytest.mark.slow
def test_progress_of_a_trial_is_shown_in_a_notebook():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cell = """
from jobs import Problem, Protocol, Trial, run_trial
problem = Problem(dataset="digits", n_train=20, width=4, depth=1)
trial = Trial(problem=problem, protocol=Protocol(epsilons=(0.45,)), kind="gd", learning_rate=0.1)
run_trial(trial, threads=1, progress=True).crossings[0].status
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    folder = str(Path(jobs.__file__).parent.parent)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": folder}}
    ).execute()
    text = "".join(str(output) for output in notebook.cells[0].outputs)
    assert "GD at η = 0.1" in text
    assert "'reached'" in text


def test_many_samples_go_through_a_large_network_in_chunks_that_suit_it():
    """By default as many as are fast; with a size, as many graphs are kept as fit."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 3),
    )
    inputs, targets = torch.randn(300, 1, 28, 28), torch.arange(300) % 3
    by_default = Objective.from_module(module, "ce", inputs, targets)
    assert 1 < by_default.chunks.size < 300
    assert by_default.chunks.retained == -(-300 // by_default.chunks.size)
    of_a_size = Objective.from_module(module, "ce", inputs, targets, chunk_size=70)
    assert (of_a_size.chunks.size, of_a_size.chunks.retained) == (70, 5)
    whole = Objective.from_module(module, "ce", inputs, targets, chunk_size=300)
    theta = whole.theta()
    expected = Hessian(whole, theta) @ theta
    for objective in (by_default, of_a_size):
        found = Hessian(objective, theta) @ theta
        assert float((found - expected).norm()) <= 1e-5 * float(expected.norm())


def test_few_samples_go_through_it_together():
    module = nn.Linear(5, 2)
    objective = Objective.from_module(module, "mse", torch.randn(200, 5), torch.randn(200, 2))
    assert (objective.chunks.size, objective.chunks.retained) == (200, 1)
