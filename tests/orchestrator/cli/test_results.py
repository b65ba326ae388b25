"""What is said of the transition and of what is undecided, and what a run suggests at its end."""

from __future__ import annotations

from dataclasses import fields

import pytest
from support.sweeps import POINT

from orchestrator.analysis import PhaseRow
from orchestrator.cli.results import further_seeds, left_out, print_phases, print_undecided
from orchestrator.sweep import parse


def row(column_id: str, **known) -> PhaseRow:
    values = {f.name: 0 if f.name.startswith("n_") else None for f in fields(PhaseRow)}
    return PhaseRow(**values | {"column_id": column_id, "epsilon": 0.1} | known)


def test_a_fitted_rate_has_its_uncertainty_and_an_unknown_one_is_undecided(capsys) -> None:
    fitted = {"eta_c_fitted": 0.05, "eta_c_fitted_low": 0.049, "eta_c_fitted_high": 0.051}
    print_phases(
        {"a": "width 16"}, [row("a", **fitted, n_gd=3, n_diverged=2, n_chance_crossing=1), row("b")]
    )
    lines = capsys.readouterr().out.splitlines()
    a, b = (line for line in lines if line.split()[:1] in (["width"], ["b"]))
    assert "0.05 ± 2 %" in a
    assert "2 diverged, 1 chance crossing" in a
    assert "undecided" in b
    assert "none" in b


def test_one_thing_is_said_once(capsys) -> None:
    rows = [
        row("a", undecided="x: one; y: two"),
        row("b", undecided="x: one"),
        row("c"),
        row("d", undecided="x: 3"),
    ]
    print_undecided({"a": "width 16"}, rows)
    assert capsys.readouterr().out.splitlines() == [
        "undecided: x: one and other reasons (3 of 4 columns and thresholds)",
        "undecided: y: two (width 16, ε = 0.1)",
    ]


def test_nothing_left_out_is_said(capsys) -> None:
    assert left_out(row("a")) == "none"
    print_phases({}, [])
    assert capsys.readouterr().out == "no rows\n"


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
