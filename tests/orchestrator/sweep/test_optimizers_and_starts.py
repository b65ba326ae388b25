"""Optimisers as axes of a sweep file, and grids that start from others."""

from __future__ import annotations

import pytest
from support.sweeps import POINT, refused

from jobs.spec import Optimizer, StateName
from orchestrator.sweep import dump, parse

ALL = "optimizer={name: [gd, heavy_ball, nesterov], momentum: [0.5, 0.9]}"
ADAM = ["optimizer.name=adam", "eta.unit=absolute"]
CHAIN = (
    POINT
    + """
grids:
  - {label: hot, stop: {epsilon: [0.3, 0.1]}}
  - {label: cold, start: {from: hot, epsilon: [0.3, 0.1], average: [1, 5]}}
  - {start: {from: cold, chi: 0.5}, optimizer: {name: heavy_ball}}
"""
)


def optimizers(*overrides: str) -> list[str]:
    return [str(column.optimizer) for column in parse(POINT, overrides).columns]


def test_lists_are_axes_and_what_computes_the_same_is_one_column() -> None:
    assert optimizers() == ["gd"]
    assert optimizers(ALL) == [
        *("gd", "heavy ball β=0.5", "heavy ball β=0.9"),
        *("nesterov β=0.5", "nesterov β=0.9"),
    ]
    assert optimizers("optimizer={name: heavy_ball, momentum: [0, null]}") == [
        "gd",
        "heavy ball β=0.9",
    ]
    constants = "optimizer={name: adam, momentum: [0.8, null], damping: 1.0e-6}"
    assert optimizers(constants, "eta.unit=absolute") == [
        *("adam β=0.8 β₂=0.999 δ=1e-06", "adam β=0.9 β₂=0.999 δ=1e-06"),
    ]


def test_conditions_exclusions_and_zip_know_optimisers() -> None:
    excluded = "exclude=[{optimizer.name: nesterov, optimizer.momentum: 0.5}]"
    assert optimizers(ALL, excluded) == [
        *("gd", "heavy ball β=0.5", "heavy ball β=0.9", "nesterov β=0.9"),
    ]
    assert optimizers(ALL, "exclude=[{optimizer.momentum: null}]")[0] == "heavy ball β=0.5"
    zipped = "zip=[[optimizer.name, optimizer.momentum]]"
    two = "optimizer={name: [heavy_ball, nesterov], momentum: [0.5, 0.9]}"
    assert optimizers(two, zipped) == ["heavy ball β=0.5", "nesterov β=0.9"]
    when = (
        "when=[{match: {optimizer.name: adam}, eta: {unit: absolute, values: [0.001]}, "
        "optimizer: {momentum: [0.5, 0.8]}}]"
    )
    sweep = parse(POINT, ["optimizer.name=[gd, adam]", when])
    assert [str(c.optimizer) for c in sweep.columns] == [
        *("gd", "adam β=0.5 β₂=0.999", "adam β=0.8 β₂=0.999"),
    ]
    assert [c.etas[0].unit for c in sweep.columns] == ["eta_c", "absolute", "absolute"]
    assert parse(dump(sweep)) == sweep


def test_plain_files_are_written_as_before() -> None:
    assert "optimizer" not in dump(parse(POINT))
    assert "start" not in dump(parse(POINT))
    assert parse(POINT, ["optimizer.name=gd"]) == parse(POINT)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer.name=sgd"], "optimizer.name is 'sgd'; it must be one of gd, heavy_ball, "),
        (["optimizer.nme=gd"], "optimizer.nme is not a known key; did you mean optimizer.name?"),
        (
            ["optimizer.name=adam", "optimizer.momentum=1.0", "eta.unit=absolute"],
            "optimizer.momentum is 1.0; it must be from 0 to below 1",
        ),
        (["optimizer.beta2=-1"], "optimizer.beta2 is -1; it must be from 0 to below 1"),
        (["optimizer.damping=0"], "optimizer.damping is 0; it must be a finite number above 0"),
        (
            ["optimizer.momentum=0.9"],
            "optimizer.momentum is 0.9; it must be left out, for gd has no momentum",
        ),
        (
            ["optimizer={name: [gd, heavy_ball], beta2: 0.9}"],
            "optimizer.beta2 is 0.9; it must be left out, for gd and heavy_ball have no second",
        ),
        (
            ["optimizer.name=[gd, rmsprop]"],
            "eta.unit is 'eta_c'; it must be absolute for rmsprop, whose limit for small η is not",
        ),
        (["optimizer.name=adam", "eta.unit=init_sharpness"], "absolute for adam"),
        (
            [*ADAM, "measure.also=distance_from_flow"],
            "measure.also is 'distance_from_flow'; it must be left out for adam",
        ),
        (
            [ALL, "exclude=[{optimizer.momentm: 0.5}]"],
            "exclude[0].optimizer.momentm is not a known key; did you mean "
            "exclude[0].optimizer.momentum?",
        ),
    ],
)
def test_what_no_optimiser_can_have_is_refused_by_its_key(overrides: list[str], said: str) -> None:
    assert said in refused(POINT, *overrides)


def test_each_state_of_each_parent_makes_a_column() -> None:
    sweep = parse(CHAIN, ["eta.values=[0.5, 2.0]"])
    starts = [column.start for column in sweep.columns]
    assert starts[0] is None
    second = [start for start in starts if start and start.parent == sweep.columns[0].column_id]
    assert [(start.rate.multiple, start.state) for start in second] == [
        (rate, StateName(epsilon=epsilon, average=average))
        for epsilon in (0.3, 0.1)
        for average in (1, 5)
        for rate in (0.5, 2.0)
    ]
    assert len(starts) == 1 + 8 + 16
    assert starts[-1].said == "2 η_c, ε = 0.1, mean of 5; 2 η_c, χ = 0.5"
    assert sweep.columns[-1].optimizer == Optimizer(name="heavy_ball")
    assert len({column.column_id for column in sweep.columns}) == 25
    assert parse(dump(sweep)) == sweep


def test_children_are_of_the_problems_that_their_parents_have() -> None:
    text = (
        POINT
        + """
grids:
  - {label: hot, problem: {loss: [mse, ce]}}
  - {label: hot, problem: {loss: mse}, optimizer: {name: nesterov}}
  - {start: {from: hot, step: 3}, problem: {loss: [mse, huber]}}
"""
    )
    columns = parse(text, ["eta.values=[1.0]"]).columns
    said = [(c.problem.loss, c.start.said) for c in columns if c.start]
    assert said == [("mse", "1 η_c, step 3"), ("mse", "1 η_c, nesterov β=0.9, step 3")]


def test_a_sweep_with_starts_is_extended_by_more_rates() -> None:
    one, two = parse(CHAIN, ["eta.values=[0.5]"]), parse(CHAIN, ["eta.values=[0.5, 2.0]"])
    both = one.extended_by(two)
    names = {column.column_id for column in both.columns}
    assert names >= {column.column_id for column in one.columns}
    assert names >= {column.column_id for column in two.columns}
    assert parse(dump(both)) == both


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: hot", "from: hut", "grids[1].start.from is 'hut'; it must be the label of another"),
        (
            "{label: hot, ",
            "{label: hot, start: {from: cold, step: 1}, ",
            "start.from is 'cold'; it must be a grid that does not start from this one: hot → cold",
        ),
        ("from: cold", "from: cold, step: 2", "start is"),
        (", chi: 0.5", "", "start is {'from': 'cold'}; it must be a block with from, and one of"),
        (
            "chi: 0.5",
            "chi: [0.5, 0]",
            "grids[2].start.chi is 0; it must be a finite number above 0",
        ),
        ("average: [1, 5]", "average: 0", "grids[1].start.average is 0; it must be a whole number"),
        ("[0.3, 0.1], ave", "0.2, ave", "grids[1].start.epsilon is 0.2; it must be one of the par"),
        ("chi: 0.5", "step: 200000", "grids[2].start.step is 200000; it must be at most"),
        ("from: hot, ", "", "grids[1].start.from is missing; it must be the label of another grid"),
        (
            "{label: hot, ",
            "{label: hot, problem: {loss: ce}, ",
            "grids[1].start.from is 'hot'; it must be the label of grids that have a problem of",
        ),
        ("label: hot", "label: 'a b'", "grids[0].label is 'a b'; it must be text of at most 100"),
        (
            "optimizer: {name: heavy_ball}",
            "measure: {also: distance_from_flow}",
            "left out for trials that do not begin at θ0",
        ),
    ],
)
def test_a_start_that_cannot_be_is_refused_by_its_key(old: str, new: str, said: str) -> None:
    assert old in CHAIN
    assert said in refused(CHAIN.replace(old, new, 1), "eta.values=[0.5]")
