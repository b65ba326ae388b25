"""Exclusions and conditions: which columns there are not, and which are handled otherwise."""

from __future__ import annotations

import dataclasses

import pytest
from support.sweeps import POINT, found, refused

from jobs.spec import Problem
from orchestrator.sweep import Axis, Condition, EtaGrid, Match, Resources, dump, parse

FOUR = POINT.replace(
    "n_train: 100", "n_train: 100, loss: [mse, ce], activation: [relu, tanh], width: [8, 16]"
)


def test_columns_that_match_are_excluded() -> None:
    sweep = parse(
        FOUR
        + """
exclude:
  - {problem.loss: mse, problem.activation: tanh}
  - {problem.width: [8, 32], problem.loss: ce}
"""
    )
    assert found(sweep, "loss", "activation", "width") == [
        ("mse", "relu", 8),
        ("mse", "relu", 16),
        ("ce", "relu", 16),
        ("ce", "tanh", 16),
    ]
    assert parse(dump(sweep)) == sweep


def test_a_combination_that_no_problem_can_have_may_be_excluded() -> None:
    axes = ["problem.architecture=[fcn, diagonal-difference]", "problem.depth=[1, 2, 3]"]
    assert refused(POINT, *axes).startswith("problem.depth is 1; it must be")
    exclude = "exclude=[{problem.architecture: diagonal-difference, problem.depth: [1, 3]}]"
    sweep = parse(POINT, [*axes, exclude])
    assert found(sweep, "architecture", "depth") == [
        ("fcn", 1),
        ("fcn", 2),
        ("fcn", 3),
        ("diagonal-difference", 2),
    ]


def test_a_match_sees_defaults_and_absent_fields() -> None:
    text = POINT.replace("n_train: 100", "n_train: 100, architecture: [fcn, vit, diagonal]")
    assert found(parse(text, ["exclude=[{problem.depth: 4}]"]), "architecture") == [
        ("fcn",),
        ("diagonal",),
    ]
    assert found(parse(text, ["exclude=[{problem.width: null}]"]), "architecture") == [
        ("fcn",),
        ("vit",),
    ]


def test_conditions_change_how_matching_columns_stop_and_what_they_take() -> None:
    sweep = parse(
        FOUR
        + """
when:
  - match: {problem.loss: ce}
    stop: {epsilon: [0.05], max_steps: 7}
    eta: {unit: absolute, values: {linear: [1, 3, 3]}, stop_after_divergences: null}
    measure: {trajectory_every: 3}
    flow: {method: rk4}
  - match: {problem.loss: ce, problem.width: 16}
    stop: {max_steps: 9}
    resources: {workers: 2}
"""
    )
    assert len(sweep.columns) == 8
    for column in sweep.columns:
        protocol = column.protocol
        wide = column.problem.width == 16
        if column.problem.loss == "mse":
            assert (protocol.epsilons, column.resources.workers) == ((0.1,), 1)
            assert column.etas == (EtaGrid(unit="eta_c", multiples=(1.0,)),)
            continue
        assert protocol.epsilons == (0.05,)
        assert protocol.max_steps == (9 if wide else 7)
        assert (protocol.trajectory_every, protocol.flow_method) == (3, "rk4")
        assert column.etas == (EtaGrid(unit="absolute", multiples=(1.0, 2.0, 3.0)),)
        assert column.stop_after_divergences is None
        assert column.resources == Resources(workers=2 if wide else 1)
    assert parse(dump(sweep)) == sweep


def test_a_condition_gives_matching_problems_axes_of_their_own() -> None:
    text = POINT.replace("n_train: 100", "n_train: 100, architecture: [fcn, cnn], width: [64, 128]")
    sweep = parse(
        text
        + """
when:
  - match: {problem.architecture: cnn}
    problem: {width: [8, 16, 32], seed: 5}
  - match: {problem.width: 32}
    problem: {init_scale: 2.0}
"""
    )
    assert found(sweep, "architecture", "width", "seed", "init_scale") == [
        ("fcn", 64, 0, 1.0),
        ("fcn", 128, 0, 1.0),
        ("cnn", 8, 5, 1.0),
        ("cnn", 16, 5, 1.0),
        ("cnn", 32, 5, 2.0),
    ]
    assert parse(dump(sweep)) == sweep


def test_exclusions_see_what_conditions_made_of_a_column() -> None:
    when = "when=[{match: {problem.loss: ce}, problem: {width: 32}}]"
    sweep = parse(FOUR, [when, "exclude=[{problem.width: [8, 32], problem.activation: tanh}]"])
    assert found(sweep, "loss", "activation", "width") == [
        ("mse", "relu", 8),
        ("ce", "relu", 32),
        ("mse", "relu", 16),
        ("mse", "tanh", 16),
    ]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "exclude=[{problem.width: 7, problem.loss: mse}]",
            "exclude[0] is {'problem.width': 7, 'problem.loss': 'mse'}; it must fit a column of "
            "the sweep, but none has these values",
        ),
        (
            "when=[{match: {problem.loss: [logistic]}, stop: {max_steps: 1}}]",
            "when[0].match is {'problem.loss': 'logistic'}; it must fit a column of the sweep, but "
            "none has these values",
        ),
        (
            "exclude=[{problem.lose: mse}]",
            "exclude[0].problem.lose is not a known key; did you mean exclude[0].problem.loss?",
        ),
        (
            "exclude=[{loss: mse}]",
            "exclude[0].loss is not a known key; did you mean exclude[0].problem.loss?",
        ),
        (
            "exclude=[{problem.loss: msee}]",
            "exclude[0].problem.loss is 'msee'; it must be one of mse, mse_mean, ce, logistic, "
            "huber, or FILE.py:FUNCTION for one of your own (did you mean mse?)",
        ),
        (
            "exclude=[{}]",
            "exclude[0] is {}; it must be a block of keys of the problem, such as "
            "{problem.loss: [mse, ce]}",
        ),
        (
            "exclude={problem.loss: mse}",
            "exclude is {'problem.loss': 'mse'}; it must be a list of at most 1000 blocks such as "
            "{problem.loss: ce, problem.depth: [3, 4]}",
        ),
        (
            "exclude=[{problem.loss: [mse, ce]}]",
            "exclude leaves no column; it must leave at least one",
        ),
        (
            "when=[{match: {problem.loss: ce}}]",
            "when[0] is {'match': {'problem.loss': 'ce'}}; it must be a block with a match and "
            "what is different for it, such as stop: {epsilon: 0.05}",
        ),
        (
            "when=[{stop: {epsilon: 1}}]",
            "when[0].match is missing; it must be a block of keys of the problem, such as "
            "{problem.loss: [mse, ce]}",
        ),
        (
            "when=[{match: {problem.loss: ce}, stop: {epsilno: 1}}]",
            "when[0].stop.epsilno is not a known key; did you mean when[0].stop.epsilon?",
        ),
        (
            "when=[{match: {problem.loss: ce}, stop: {epsilon: -1}}]",
            "when[0].stop.epsilon is -1; it must be a finite number above 0",
        ),
        (
            "when=[{match: {problem.los: ce}, stop: {epsilon: 1}}]",
            "when[0].match.problem.los is not a known key; did you mean "
            "when[0].match.problem.loss?",
        ),
        (
            "when=[{match: {problem.loss: ce}, problem: {depth: -1}}]",
            "when[0].problem.depth is -1; it must be a whole number of at least 0",
        ),
        (
            "grids=[{exclude: [{problem.lose: mse}]}]",
            "grids[0].exclude[0].problem.lose is not a known key; did you mean "
            "grids[0].exclude[0].problem.loss?",
        ),
        (
            "when=[{match: {problem.loss: ce}, problem: {activation: relu}, resources: {workers: 2}"
            "}, {match: {problem.loss: ce, problem.width: 8}, problem: {width: 16}, resources: "
            "{workers: 3}}]",
            "when makes resources.workers 3 and 2 for the same column; it must be the same "
            "wherever conditions make one column of several",
        ),
    ],
)
def test_wrong_exclusions_and_conditions_are_refused(override: str, sentence: str) -> None:
    assert refused(FOUR, override) == sentence


MATCHED = """
exclude: [{problem.loss: ce, problem.activation: tanh}]
when: [{match: {problem.width: 16}, stop: {max_steps: 9}}]
"""


def test_a_sweep_narrowed_on_the_command_line_need_not_meet_the_files_conditions() -> None:
    sweep = parse(FOUR + MATCHED, ["problem.loss=mse", "problem.width=8"])
    assert found(sweep, "activation") == [("relu",), ("tanh",)]
    assert (sweep.grids[0].exclude, sweep.grids[0].when) == ((), ())
    assert parse(dump(sweep)) == sweep
    assert refused(FOUR + MATCHED, "stop.epsilon=1", "exclude=[{problem.seed: 1}]").startswith(
        "exclude[0] is {'problem.seed': 1}; it must fit a column"
    )


def test_the_command_line_wins_over_conditions() -> None:
    sweep = parse(FOUR + MATCHED, ["stop.max_steps=3"])
    assert {column.protocol.max_steps for column in sweep.columns} == {3}
    assert {c.protocol.max_steps for c in parse(FOUR + MATCHED).columns} == {9, 100_000}


def test_a_block_has_its_own_exclusions_or_those_of_the_file() -> None:
    text = FOUR + MATCHED + "grids: [{}, {problem: {seed: 1}, exclude: []}]"
    sweep = parse(text)
    first, second = ([c for c in sweep.columns if c.problem.seed == seed] for seed in (0, 1))
    assert (len(first), len(second)) == (6, 8)
    assert {column.protocol.max_steps for column in second} == {9, 100_000}
    assert parse(dump(sweep)) == sweep


def test_what_fits_no_column_of_one_block_may_fit_those_of_another() -> None:
    blocks = "grids: [{problem: {loss: mse, seed: 1}}, {problem: {width: 16}}]"
    sweep = parse(FOUR + MATCHED + blocks)
    assert len(sweep.columns) == 4 + 3
    assert parse(dump(sweep)) == sweep


def test_a_later_run_may_handle_matching_columns_in_another_way() -> None:
    before = parse(FOUR + MATCHED)
    when = (
        "when=[{match: {problem.width: 16}, stop: {max_steps: 9}, resources: {workers: 2}},"
        " {match: {problem.loss: mse}, resources: {cpus_per_worker: 3}, eta: {values: [4]}}]"
    )
    united = before.extended_by(parse(FOUR + MATCHED, [when]))
    assert parse(dump(united)) == united
    assert [c.column_id for c in united.columns] == [c.column_id for c in before.columns]
    for column in united.columns:
        wide, mse = column.problem.width == 16, column.problem.loss == "mse"
        assert column.resources == Resources(
            workers=2 if wide else 1, cpus_per_worker=3 if mse else 1
        )
        assert tuple(column.learning_rates(1.0)) == ((1.0, 4.0) if mse else (1.0,))


def test_zipped_columns_are_excluded_and_changed_like_others() -> None:
    text = FOUR + MATCHED + "zip: [[problem.loss, problem.activation]]"
    (column,) = [c for c in parse(text).columns if c.protocol.max_steps == 9]
    problem = Problem(dataset="digits", n_train=100, loss="mse", activation="relu", width=16)
    assert column.problem == problem


def test_a_condition_that_asks_for_measures_has_the_files_values_for_them() -> None:
    measured = "measure: {probes: 7, midpoint: true, perturbation: 0.3}\n"
    asks = "when: [{match: {problem.loss: ce}, measure: {also: [trace, average_sharpness]}}]\n"
    sweep = parse(FOUR + measured + asks)
    asked = {
        (c.protocol.probes, c.protocol.midpoint, c.protocol.perturbation) for c in sweep.columns
    }
    assert asked == {(None, False, None), (7, True, 0.3)}
    assert parse(dump(sweep)) == sweep
    only = parse(FOUR + measured + asks, ["problem.loss=mse"])
    assert parse(dump(only)) == only


def test_a_condition_whose_columns_are_all_excluded_fits_none() -> None:
    excluded = "exclude: [{problem.width: 8}]\n"
    when = "when: [{match: {problem.width: 8}, stop: {epsilon: 0.5}}]\n"
    says = "when[0].match is {'problem.width': 8}; it must fit a column of the sweep, but none has"
    assert refused(FOUR + excluded + when).startswith(says)


def test_a_condition_may_complete_a_problem_and_match_its_defaults() -> None:
    text = POINT.replace("100}", "100, parameterization: mup}")
    when = (
        "when: [{match: {problem.parameterization: mup, problem.width: 200}, "
        "problem: {base_width: 64}}]\n"
    )
    assert found(parse(text + when), "width", "base_width") == [(200, 64)]


def test_a_later_run_may_have_more_columns_and_another_handling_at_once() -> None:
    before = parse(POINT, ["problem.width=[8, 16]"])
    for axes, count in (("[8, 16, 32]", 3), ("[16, 32]", 3), ("[16]", 2)):
        later = parse(
            POINT,
            [f"problem.width={axes}", "resources.workers=2", "eta.stop_after_divergences=null"],
        )
        united = before.extended_by(later)
        assert len(united.columns) == count
        handled = {(c.resources.workers, c.stop_after_divergences) for c in united.columns}
        assert handled == {(2, None)}
        assert parse(dump(united)) == united


def test_a_later_run_may_handle_columns_by_blocks_and_conditions_of_its_own() -> None:
    before = parse(POINT, ["problem.width=[8, 16]"])
    blocks = "grids=[{problem: {width: 8}, resources: {workers: 2}}, {problem: {width: 16}}]"
    by_blocks = before.extended_by(parse(POINT, [blocks]))
    assert {c.problem.width: c.resources.workers for c in by_blocks.columns} == {8: 2, 16: 1}
    when = "when=[{match: {problem.width: [16, 32]}, resources: {workers: 2}}]"
    by_condition = before.extended_by(parse(POINT, ["problem.width=[16, 32]", when]))
    found = {c.problem.width: c.resources.workers for c in by_condition.columns}
    assert found == {8: 1, 16: 2, 32: 2}
    assert parse(dump(by_condition)) == by_condition


def test_a_rule_of_many_values_is_hashed_once_not_for_each_column() -> None:
    hashed = 0

    class Counted(tuple[int, ...]):
        def __hash__(self) -> int:
            nonlocal hashed
            hashed += 1
            return super().__hash__()

    def hashes(seeds: int) -> int:
        nonlocal hashed
        hashed = 0
        match = Match(fields=(Axis(field="seed", values=Counted(range(1, seeds))),))
        sweep = parse(FOUR, [f"problem.seed.repeat={seeds}"])
        grid = dataclasses.replace(sweep.grids[0], exclude=(match,))
        used: set[Match | Condition] = set()
        assert {setup.problem.seed for setup, _ in grid.setups(used)} == {0}
        assert used == {match}
        return hashed

    assert hashes(40) == hashes(5)
