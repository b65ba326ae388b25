"""What a run suggests at its end."""

from __future__ import annotations

import pytest
from support.sweeps import POINT

from orchestrator.cli.summary import further_seeds
from orchestrator.sweep import parse

DIAGONAL = [
    "problem.dataset=point(x=[2, 1], truth=[0.5, 0.5])",
    "problem.n_train=1",
    "problem.architecture=diagonal",
]


@pytest.mark.parametrize(
    ("overrides", "seeds"),
    [
        ([], [1, 2]),
        (["problem.seed=[0,1,2]"], [3, 4]),
        (["problem.seed=[7,3]"], [8, 9]),
        ([f"problem.seed={2**63 - 1}"], []),
        (DIAGONAL, []),  # their initial parameters are not drawn
        (["problem.seed=[0,1]", "problem.width=[8,16]", "zip=[[problem.seed,problem.width]]"], []),
    ],
)
def test_the_seeds_that_are_suggested_are_new(overrides: list[str], seeds: list[int]) -> None:
    sweep = parse(POINT, overrides)
    assert further_seeds(sweep) == seeds
    if seeds:
        more = parse(POINT, [*(o for o in overrides if "seed" not in o), f"problem.seed={seeds}"])
        assert {c.column_id for c in more.columns}.isdisjoint(c.column_id for c in sweep.columns)
