"""Names of losses, and the numbers that they stand for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from jobs import Problem, datasets
from jobs.arguments import ArgumentError, loss_sum
from jobs.datasets import DatasetError
from jobs.losses import LOSS_SUMS, named_loss
from jobs.spec import SpecError
from jobs.spec.loss_name import LOSSES, LossName, loss_name, own_loss


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mse", "mse"),
        ("ce(smoothing=0)", "ce"),
        (" ce ( smoothing = .10 ) ", "ce(smoothing=0.1)"),
        ("huber", "huber"),
        ("huber(delta=1.0)", "huber"),
        ("huber(delta=2.0)", "huber(delta=2)"),
        ("huber(delta=1e-3)", "huber(delta=0.001)"),
        ("my loss.py:fn@0123456789abcdef", "my loss.py:fn@0123456789abcdef"),
    ],
)
def test_a_loss_has_one_name(text, name):
    assert str(loss_name(text)) == name
    assert str(loss_name(name)) == name
    assert Problem(dataset="digits", n_train=1, loss=text).loss == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hubre", "one of mse, mse_mean, ce, logistic, huber, or FILE.py:FUNCTION for one of your"),
        ("ce(smoothing=1)", "ce with a number of at least 0 and below 1 for smoothing"),
        ("ce(smoothing=nan)", "ce with a number of at least 0 and below 1 for smoothing"),
        ("ce(smoothing=x)", "ce with a number of at least 0"),
        ("huber(delta=0)", "huber with a number above 0 for delta"),
        ("huber(delta=inf)", "huber with a number above 0 for delta"),
        ("huber(smoothing=0.1)", "huber without smoothing; it has the option delta"),
        ("mse(delta=1)", "mse without delta; it has no option"),
        ("loss.py:fn", "FILE.py:FUNCTION@DIGEST for a loss of your own"),
        ("loss.py:fn(width)@0123456789abcdef", "FILE.py:FUNCTION@DIGEST for a loss of your own"),
    ],
)
def test_unknown_losses_are_refused(text, said):
    with pytest.raises(SpecError) as error:
        loss_name(text)
    assert str(error.value).startswith(f"loss is {text!r}; it must be {said}")


def test_every_loss_has_a_function_and_only_own_ones_a_file():
    assert set(LOSSES) == set(LOSS_SUMS)
    for name in LOSSES:
        assert named_loss(loss_name(name)) == LOSS_SUMS[name]
        assert own_loss(name) is None
    assert own_loss("loss.py:fn@0123456789abcdef").factory == "fn"


def test_smoothed_cross_entropy_by_hand():
    """Two classes at the outputs 0 and 0: each log-probability is −log 2, whatever the targets."""
    loss = named_loss(LossName("ce", 0.25))
    assert loss(torch.zeros(1, 2), torch.tensor([0])) == pytest.approx(math.log(2))
    outputs = torch.tensor([[math.log(3), 0.0]])  # probabilities ¾ and ¼; targets ⅞ and ⅛
    expected = -(7 / 8) * math.log(3 / 4) - (1 / 8) * math.log(1 / 4)
    assert loss(outputs, torch.tensor([0])) == pytest.approx(expected, rel=1e-6)
    assert loss(outputs.repeat(3, 1), torch.tensor([0] * 3)) == pytest.approx(3 * expected)


def test_huber_by_hand():
    """Of the distances 0.1, 2 and −3 at δ = ½: 0.005, ½ (2 − ¼) and ½ (3 − ¼)."""
    loss = named_loss(LossName("huber", 0.5))
    outputs = torch.tensor([[1.1, 2.0, -2.0]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    assert float(loss(outputs, labels)) == pytest.approx(0.005 + 0.875 + 1.375, rel=1e-12)
    module = nn.HuberLoss(reduction="sum", delta=0.5)
    assert loss(outputs, labels) == module(outputs, labels)


@pytest.mark.parametrize(
    ("dataset", "loss", "fits"),
    [
        ("digits", "huber(delta=0.5)", True),
        ("digits", "ce(smoothing=0.1)", True),
        ("point(x=[2, 1], truth=[1, 1])", "huber", True),
        ("point(x=[2, 1], truth=[1, 1])", "ce(smoothing=0.1)", False),
        ("digits", "logistic", False),
    ],
)
def test_each_kind_of_labels_has_its_losses(dataset, loss, fits):
    problem = Problem(dataset=dataset, n_train=1, loss=loss)
    if fits:
        datasets.check(problem)
    else:
        with pytest.raises(DatasetError, match="it must be one of "):
            datasets.check(problem)


def test_python_users_name_them_alike():
    assert loss_sum("huber(delta=0.5)") == named_loss(LossName("huber", 0.5))
    for wrong in ("hubre", "loss.py:fn@0123456789abcdef"):
        with pytest.raises(ArgumentError, match="one of mse, mse_mean, ce, logistic, huber, or"):
            loss_sum(wrong)
