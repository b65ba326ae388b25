"""Counts of multiplications against torch's own counter, and closed forms by layer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from jobs import datasets, models
from jobs.multiplications import count, multiplications
from jobs.spec import Problem


@pytest.mark.parametrize("dataset", ["digits", "mnist-mini"])
@pytest.mark.parametrize(("width", "depth"), [(7, 1), (5, 3), (9, 0)])
def test_a_fully_connected_network_makes_one_for_each_weight(
    dataset: str, width: int, depth: int
) -> None:
    problem = Problem(dataset=dataset, n_train=1, width=width, depth=depth)
    shape = datasets.shape(dataset)
    module = models.build(problem, shape)
    weights = sum(p.numel() for name, p in module.named_parameters() if name.endswith("weight"))
    assert multiplications(problem) == weights
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(3, shape.features, device="meta"))
    assert counter.get_total_flops() == 3 * 2 * weights


def test_a_diagonal_network_makes_one_for_each_power_of_each_weight() -> None:
    problem = Problem(dataset="digits", n_train=1, architecture="diagonal", depth=3)
    assert multiplications(problem) == 3 * 64  # w·w, ·w, and ·x


def test_convolutions_and_products_are_counted_at_every_place() -> None:
    with torch.device("meta"):
        module = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 5, 3, padding=1),  # 8·8 places, 5 channels, 9 weights each
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 3, 3),  # 2·2 places, 3 channels, 5·9 weights each
            nn.Flatten(),
            nn.Linear(12, 10),
        )
    assert count(module, 64) == 64 * 5 * 9 + 4 * 3 * 45 + 12 * 10


class Elementwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(64, device="meta"))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs * self.weight).sum(dim=1, keepdim=True)


def test_each_parameter_counts_once_at_least() -> None:
    assert count(Elementwise(), 64) == 64


def test_networks_with_a_formula_need_no_torch() -> None:
    code = (
        "import sys; from jobs.multiplications import multiplications; from jobs import Problem; "
        "multiplications(Problem(dataset='digits', n_train=1)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_custom_network_is_counted_like_the_others(tmp_path: Path) -> None:
    """On 64 pixels, 5 units and 10 outputs: 64·5 + 5·10, and each of the biases once at least."""
    path = tmp_path / "mynet.py"
    path.write_text(
        "from torch import nn\n"
        "def build(width, outputs):\n"
        "    return nn.Sequential(\n"
        "        nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, outputs)\n"
        "    )\n"
    )
    named = models.custom.named(path, "build")
    problem = Problem(dataset="digits", n_train=1, architecture=named, width=5)
    assert multiplications(problem) == 64 * 5 + 5 * 10 + 15


def _own(path: Path, text: str) -> Problem:
    path.write_text(text)
    return Problem(dataset="digits", n_train=1, architecture=models.custom.named(path, "build"))


def test_what_goes_wrong_with_a_count_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("boom")

    text = "from torch import nn\ndef build(outputs):\n"
    text += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n"
    monkeypatch.setattr("jobs.multiplications.count", fail)
    with pytest.raises(RuntimeError, match="boom"):
        multiplications(_own(tmp_path / "mynet.py", text))


def test_a_network_that_cannot_be_made_counts_as_one_product(tmp_path: Path) -> None:
    assert multiplications(_own(tmp_path / "mynet.py", "def build(): ...\n")) == 64
