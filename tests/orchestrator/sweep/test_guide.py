"""The guide to sweep files: its examples come to as many columns as it says, its table is whole."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jobs import datasets, models
from jobs.custom_loss import loss_of
from jobs.models import custom
from jobs.network_requirements import NetworkError
from jobs.parameterization import multipliers
from jobs.problem import parameter_count
from jobs.spec import (
    ACTIVATIONS,
    ARCHITECTURES,
    DTYPES,
    LOSSES,
    PARAMETERIZATIONS,
    Problem,
)
from jobs.spec.problem import NORMALIZATIONS
from orchestrator.sweep import dump, load, parse
from orchestrator.sweep.schema import KEYS

GUIDE = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
NETWORK, LOSS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
FIRST, *ADDED = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def with_first(added: str) -> str:
    """The first example with another one on top, as a reader would put them together."""
    whole: dict[str, Any] = yaml.safe_load(FIRST)
    for key, value in yaml.safe_load(added).items():
        whole[key] = {**whole[key], **value} if isinstance(whole.get(key), dict) else value
    return yaml.safe_dump(whole, allow_unicode=True)


@pytest.mark.parametrize("example", [FIRST, *map(with_first, ADDED)], ids=range(1 + len(ADDED)))
def test_an_example_has_as_many_columns_as_it_says(
    example: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "mynet.py").write_text(NETWORK)
    path = tmp_path / "sweep.yaml"
    path.write_text(example)
    sweep = load(path)
    said = re.match(r"# (\d+) columns?\b", [FIRST, *ADDED][int(request.node.callspec.id)])
    assert said is not None
    assert len(sweep.columns) == int(said[1])
    path.write_text(dump(sweep))
    assert load(path) == sweep


@pytest.mark.parametrize("scaling", [{}, {"parameterization": "mup", "base_width": 32}])
def test_the_network_of_the_guide_can_be_made(tmp_path: Path, scaling: dict[str, Any]) -> None:
    path = tmp_path / "mynet.py"
    path.write_text(NETWORK)
    named = {"architecture": custom.named(path, "build"), "dataset": "digits", "n_train": 1}
    problem, shape = Problem(**named, **scaling), datasets.shape("digits")
    network = models.build(problem, shape)
    # A hidden layer and its gate of 64 units for 64 pixels, and a head.
    assert parameter_count(problem) == 2 * (64 * 64 + 64) + 64 * 10 + 10
    assert network(torch.zeros(3, 64)).shape == (3, 10)
    assert len(multipliers(problem, shape)) == (5 if scaling else 0)


def test_the_loss_of_the_guide_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "myloss.py").write_text(LOSS)
    path = tmp_path / "sweep.yaml"
    path.write_text(with_first("problem: {loss: 'myloss.py:robust'}"))
    (column, *_) = load(path).columns
    loss = loss_of(column.problem.loss, datasets.shape("digits"))
    assert float(loss(torch.zeros(3, 10), torch.tensor([0, 1, 2]))) == pytest.approx(
        3 * math.log(2)
    )


def test_what_a_factory_may_ask_for_is_in_the_table(tmp_path: Path) -> None:
    table = GUIDE.partition("| argument | what it is |\n")[2].partition("\n\n")[0]
    asked = [
        name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    path = tmp_path / "mynet.py"
    path.write_text(f"def build({', '.join(asked)}, more): ...\n")
    problem = Problem(dataset="digits", n_train=1, architecture=custom.named(path, "build"))
    says = f"asks for 'more'; it can have {', '.join(asked)} by name"
    with pytest.raises(NetworkError, match=says):
        models.build(problem, datasets.shape("digits"))


def test_every_field_of_a_problem_is_explained_with_what_it_may_be() -> None:
    table = GUIDE.partition("| field | values | default |\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]
    fields = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert fields == [field.name for field in dataclasses.fields(Problem)]
    for choices in (
        ACTIVATIONS, ARCHITECTURES, DTYPES, LOSSES, NORMALIZATIONS, PARAMETERIZATIONS
    ):  # fmt: skip
        assert all(f"`{choice}`" in table for choice in choices)
    usual = {field.name: field.default for field in dataclasses.fields(Problem)}
    for *named, said in rows:
        (name, *_) = re.findall(r"`(\w+)`", named[0])
        if isinstance(usual[name], (str, int, float)):
            assert said.strip("`") == str(usual[name])


def test_every_key_is_shown() -> None:
    blocks = "\n".join([FIRST, *ADDED])
    shown = GUIDE + blocks
    assert all(re.search(rf"\b{key.name}\b", shown) for key in KEYS.values())


def test_the_command_lines_are_sweeps() -> None:
    root = Path(__file__).parents[3]
    found = []
    for config, rest in re.findall(r"^eos \w+ (\S+) (.*)$", GUIDE, re.MULTILINE):
        overrides = [word for word in rest.partition(" --")[0].split() if "=" in word]
        found.append(len(load(root / config, overrides).columns))
    assert found == [2 * 3, 1]
    with_loss = FIRST.replace("width: 64", "loss: [mse, ce]")
    assert len(parse(with_loss, ["exclude=[{problem.loss: ce}]"]).columns) == 1
