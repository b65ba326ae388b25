"""A network of the user's own is the same in every process, its constants too."""

import pytest
import torch
from support.custom_networks import HEAD, SHAPE, refusal

from jobs import models, run_trial
from jobs.models.custom import SEED
from jobs.parameterization import initial_parameters

FEATURES = """
import functools
import itertools
import numpy as np
import torch
from torch import nn

class Features(nn.Module):
    def __init__(self, projection, outputs, keep):
        super().__init__()
        if keep == "buffer":
            self.register_buffer("projection", projection)
        elif keep == "frozen":
            self.projection = nn.Parameter(projection, requires_grad=False)
        else:
            self.projection = projection.double()
        self.head = nn.Linear(16, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
    def forward(self, inputs):
        z = inputs.flatten(1) @ self.projection.to(inputs.dtype)
        return self.head(z.tanh())
"""
MADE_IN_THE_FILE = "PROJECTION = torch.randn(64, 16) / 8"


def _with_features(made, keep="buffer", before=""):
    return f"{FEATURES}\n{before}\ndef make(outputs):\n" + (
        f"    return Features({made}, outputs, {keep!r})\n"
    )


@pytest.mark.parametrize("seeds", [(1, 2), (2, 1)])
def test_what_a_file_draws_while_it_is_imported_does_not_depend_on_the_seed(own, problem, seeds):
    text = _with_features("PROJECTION", before=MADE_IN_THE_FILE) + f"# first {seeds[0]}\n"
    architecture = own(text)
    found = {}
    for seed in seeds:
        network = models.build(problem(architecture=architecture, seed=seed), SHAPE)
        found[seed] = network.network.projection
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        expected = (torch.randn(64, 16) / 8).double()
    assert torch.equal(found[1], expected)
    assert torch.equal(found[2], expected)


def test_initial_values_that_are_not_drawn_are_taken(own, problem):
    text = f"{HEAD}\ndef make(outputs):\n    layer = nn.Linear(64, outputs)\n"
    text += "    nn.init.ones_(layer.weight)\n    nn.init.zeros_(layer.bias)\n"
    text += "    return nn.Sequential(nn.Flatten(), layer)\n"
    architecture = own(text)
    first, second = (
        initial_parameters(problem(architecture=architecture, seed=seed), SHAPE) for seed in (1, 2)
    )
    assert torch.equal(first, second)


KEPT = "NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"


@pytest.mark.parametrize(
    "body", ["NET", "nn.Sequential(NET[0], NET[1])", "Tied(NET[1].weight)", "Beside(NET[1])"]
)
def test_a_factory_makes_a_new_network_each_time(own, body):
    text = f"{HEAD}\n{KEPT}\n"
    text += "class Tied(nn.Linear):\n    def __init__(self, weight):\n"
    text += "        super().__init__(64, 10)\n        self.weight = weight\n"
    text += "    def forward(self, inputs):\n        return super().forward(inputs.flatten(1))\n"
    text += "class Beside(nn.Linear):\n    def __init__(self, other):\n"
    text += "        super().__init__(64, 10)\n        self.other = other.requires_grad_(False)\n"
    text += "    def forward(self, inputs):\n        flat = inputs.flatten(1)\n"
    text += "        return super().forward(flat) + self.other(flat)\n"
    text += f"def make():\n    return {body}\n"
    assert "gave networks that share network" in refusal(own, text)


def test_a_factory_shares_no_buffer_either(own):
    text = f"{HEAD}\nclass Scale(nn.Module):\n    def __init__(self):\n"
    text += "        super().__init__()\n        self.register_buffer('factor', torch.ones(10))\n"
    text += "    def forward(self, inputs):\n        return inputs * self.factor\nSCALE = Scale()\n"
    text += "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), SCALE)\n"
    assert "gave networks that share network.2" in refusal(own, text)


def test_a_copy_of_what_the_file_keeps_is_a_new_network(own, problem):
    text = f"{HEAD}\nimport copy\n{KEPT}\ndef make():\n    return copy.deepcopy(NET)\n"
    models.build(problem(architecture=own(text)), SHAPE)


NUMPY = "torch.from_numpy(np.random.randn(64, 16))"
COUNT = "COUNT = itertools.count()"


@pytest.mark.parametrize("keep", ["buffer", "frozen", "attribute"])
@pytest.mark.parametrize(
    ("made", "before"),
    [
        (NUMPY, ""),
        ("torch.full((64, 16), 0.01 * next(COUNT))", COUNT),
        ("PROJECTION", f"PROJECTION = {NUMPY}"),
        ("projection()", "@functools.cache\ndef projection():\n    return torch.randn(64, 16)"),
    ],
    ids=["numpy", "count", "numpy in the file", "drawn by the first call"],
)
def test_constants_that_another_process_would_not_have_are_refused(own, keep, made, before):
    says = refusal(own, _with_features(f"{made}.clone()", keep, before))
    what = "other outputs" if keep == "attribute" else "different values of network.projection"
    assert f"gave {what}" in says or f"gave networks with {what}" in says


def test_the_hash_of_theta0_is_that_of_constants_too(own, trial):
    def init_hash(factor):
        text = _with_features(f"{factor} * PROJECTION", before=MADE_IN_THE_FILE)
        return run_trial(trial(architecture=own(text), max_steps=1), threads=1).init_hash

    assert len({init_hash(1), init_hash(2)}) == 2
