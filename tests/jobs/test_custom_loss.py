"""Losses of the user's own: what they compute, and how one that cannot be used is refused."""

from __future__ import annotations

import hashlib

import pytest
import torch

from jobs import OngoingTrial, Problem
from jobs.curvature.hessian import Hessian
from jobs.custom_loss import LossError, loss_of
from jobs.datasets import Shape
from jobs.models.custom import register
from jobs.problem import pose
from jobs.spec import Protocol, Trial

HEAD = "import torch\nfrom torch.nn import functional\n"
CLASSES, NUMBERS = Shape((64,), 10), Shape((64,), 3, "numbers")


@pytest.fixture
def own(tmp_path):
    """The name of a loss with this source."""

    def named(source: str, function: str = "fn") -> str:
        path = tmp_path / "myloss.py"
        path.write_text(HEAD + source)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        kept = tmp_path / f"{digest}.py"
        kept.write_bytes(path.read_bytes())
        register(digest, kept)
        return f"myloss.py:{function}@{digest}"

    return named


CROSS_ENTROPY = """
def fn(outputs, labels):
    print("trying")
    return functional.cross_entropy(outputs, labels, reduction="none")
"""


def test_an_own_loss_that_is_cross_entropy_has_its_trial(own, capsys):
    """The same rows but for rounding: formulas there, autograd here."""
    protocol = Protocol(epsilons=(1.5,), max_steps=200)
    rows = []
    for loss in (own(CROSS_ENTROPY), "ce"):
        problem = Problem(
            dataset="digits", n_train=40, width=8, depth=1, loss=loss, dtype="float64"
        )
        trial = Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=0.5)
        run = OngoingTrial(trial, threads=1)
        assert (run.objective.closed_form is None) == (loss != "ce")
        run.advance()
        rows.append(run.result().crossings[-1])
    mine, theirs = rows
    assert (mine.status, mine.steps) == (theirs.status, theirs.steps)
    for field in ("train_loss", "test_loss", "test_accuracy", "sharpness", "l2_norm"):
        assert getattr(mine, field) == pytest.approx(getattr(theirs, field), rel=1e-7), field
    assert "trying" not in capsys.readouterr().out


def test_its_products_are_those_of_its_formula(own):
    name = own("def fn(outputs, labels):\n    return (outputs - labels).pow(4).sum(1) / 12\n")
    point = "points(x=[[2, 1], [1, 3]], truth=[0.5, 0.5])"
    objective, _, theta = pose(
        Problem(dataset=point, n_train=2, width=1, depth=0, loss=name, dtype="float64")
    )
    vector = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    inputs = torch.cat([objective.inputs, torch.ones(2, 1, dtype=torch.float64)], dim=1)
    apart = inputs @ theta - objective.labels[:, 0]
    expected = inputs.T @ (apart.square() * (inputs @ vector)) / 2
    assert torch.allclose(Hessian(objective, theta) @ vector, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def fn(o, y):\n    return functional.cross_entropy(o, y)", "it returned () and torch.fl"),
        ("def fn(o, y):\n    return o", "it returned (6, 10) and torch.float64 for 6 samples"),
        ("def fn(o, y):\n    return [1.0] * 6", "it returned <class 'list'>"),
        (
            "def fn(o, y):\n    return o.square().sum(1).float()",
            "it returned (6,) and torch.f",
        ),
        ("def fn(o, y):\n    return o.sum(1).log()", "it is not finite at random outputs"),
        (
            "def fn(o, y):\n    return o.square().sum(1) * o.mean()",
            "depends on others or on chance",
        ),
        (
            "def fn(o, y):\n    return (o + torch.rand(())).square().sum(1)",
            "depends on others or on",
        ),
        ("def fn(o):\n    return o.sum(1)", "it failed: TypeError"),
        ("def fn(o, y):\n    raise SystemExit", "it failed: SystemExit"),
        ("other = 1", "there is no function fn in the file; define one"),
        ("import mine", "myloss.py failed: ModuleNotFoundError"),
        (
            "def fn(o, y):\n    p = o.softmax(1)\n    return -(p.detach() * p.log()).sum(1)",
            "its second derivative is not that of its first",
        ),
        (
            "class F(torch.autograd.Function):\n"
            "    @staticmethod\n    def forward(ctx, o):\n"
            "        ctx.save_for_backward(o)\n        return o.square().sum(1)\n"
            "    @staticmethod\n    @torch.autograd.function.once_differentiable\n"
            "    def backward(ctx, g):\n"
            "        return 2 * g[:, None] * ctx.saved_tensors[0]\n"
            "def fn(o, y):\n    return F.apply(o)",
            "its second derivative is not",
        ),
    ],
)
def test_unusable_losses_are_refused_in_a_sentence(own, source, said):
    with pytest.raises(LossError) as error:
        loss_of(own(source), CLASSES)
    assert str(error.value).startswith("loss ")
    assert said in str(error.value)


def test_it_is_tried_with_labels_of_the_kind_that_it_will_get(own):
    name = own("def fn(o, y):\n    return (o - y).square().sum(1)")
    loss = loss_of(name, NUMBERS)
    assert float(loss(torch.ones(2, 3), torch.zeros(2, 3))) == 6.0
    with pytest.raises(LossError, match="it failed: RuntimeError"):
        loss_of(name, CLASSES)
