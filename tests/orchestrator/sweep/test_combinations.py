"""Which columns there are: dependent axes, zipped axes, repeated seeds."""

from __future__ import annotations

import pytest
from support.sweeps import POINT, found, refused

from orchestrator.sweep import dump, parse


def test_an_axis_counts_only_for_the_architectures_that_have_it() -> None:
    sweep = parse(POINT, ["problem.architecture=[fcn, diagonal]", "problem.width=[64, 128]"])
    assert found(sweep, "architecture", "width") == [
        ("fcn", 64),
        ("fcn", 128),
        ("diagonal", None),
    ]
    assert parse(dump(sweep)) == sweep


def test_each_architecture_has_its_defaults() -> None:
    sweep = parse(POINT, ["problem.architecture=[fcn, vit]"])
    assert found(sweep, "width", "depth", "activation") == [(200, 2, "relu"), (64, 4, "gelu")]
    explicit = parse(POINT, ["problem.architecture=[fcn, vit]", "problem.width=null"])
    assert explicit == sweep
    both = parse(POINT, ["problem.width=[null, 8]"])
    assert found(both, "width") == [(200,), (8,)]
    assert parse(dump(both)) == both


def test_only_parameterizations_that_scale_with_width_have_a_base_width() -> None:
    sweep = parse(POINT, ["problem.parameterization=[standard, mup]", "problem.base_width=64"])
    assert found(sweep, "parameterization", "base_width") == [("standard", None), ("mup", 64)]
    assert refused(POINT, "problem.parameterization=[standard, mup]") == (
        "problem.base_width is null; it must be a whole number of at least 1 for mup: the width at "
        "which it is the standard parameterization"
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["problem.architecture=diagonal", "problem.width=[64, 128]"],
            "problem.width is [64, 128]; it must be left out, for diagonal networks have no width",
        ),
        (
            ["problem.architecture=[diagonal, diagonal-difference]", "problem.activation=relu"],
            "problem.activation is 'relu'; it must be left out, for diagonal and "
            "diagonal-difference networks have no activation",
        ),
        (
            ["problem.base_width=64"],
            "problem.base_width is 64; it must be left out, for only the parameterizations ntk and "
            "mup are relative to a width",
        ),
        (
            ["problem.architecture=diagonal", "problem.parameterization=mup"],
            "problem.parameterization is 'mup'; it must be left out, for diagonal networks have no "
            "other parameterization than the standard one",
        ),
    ],
)
def test_a_value_that_no_column_has_any_use_for_is_refused(
    overrides: list[str], sentence: str
) -> None:
    assert refused(POINT, *overrides) == sentence


def test_a_block_may_inherit_what_its_networks_have_no_use_for() -> None:
    blocks = "grids: [{problem: {width: [64, 128]}}, {problem: {architecture: diagonal}}]"
    sweep = parse(POINT.replace("n_train: 100", "n_train: 100, width: 32") + blocks)
    assert found(sweep, "width") == [(64,), (128,), (None,)]
    assert parse(dump(sweep)) == sweep
    assert refused(
        POINT + "grids: [{problem: {width: 64}}, {problem: {architecture: diagonal, width: 64}}]"
    ) == ("grids[1].problem.width is 64; it must be left out, for diagonal networks have no width")


ZIPPED = POINT.replace(
    "{dataset: digits, n_train: 100}",
    "{dataset: [digits, mnist-mini, digits], n_train: [100, 400, 50], seed: [0, 1]}",
)


def test_zipped_axes_advance_together() -> None:
    sweep = parse(ZIPPED + "zip: [[problem.dataset, problem.n_train]]")
    assert found(sweep, "dataset", "n_train", "seed") == [
        (*pair, seed)
        for pair in [("digits", 100), ("mnist-mini", 400), ("digits", 50)]
        for seed in (0, 1)
    ]
    assert parse(dump(sweep)) == sweep
    assert len(parse(ZIPPED).columns) == 2 * 3 * 2


def test_a_zipped_axis_of_no_use_to_a_block_is_left_out_of_it() -> None:
    text = POINT.replace("n_train: 100", "n_train: [100, 50], width: [8, 16]")
    sweep = parse(
        text
        + "zip: [[problem.n_train, problem.width]]\n"
        + "grids: [{}, {problem: {architecture: diagonal}}]"
    )
    assert found(sweep, "n_train", "width") == [(100, 8), (50, 16), (100, None), (50, None)]
    assert sweep.grids[1].zipped == ()
    assert parse(dump(sweep)) == sweep


@pytest.mark.parametrize(
    ("zipped", "sentence"),
    [
        (
            "[[problem.dataset, problem.seed]]",
            "zip has problem.dataset with 3 values and problem.seed with 2 values; they must have "
            "as many, for they advance together",
        ),
        (
            "[[problem.seed, problem.width]]",
            "zip has problem.seed with 2 values and problem.width with 1 value; they must have as "
            "many, for they advance together",
        ),
        (
            "[[problem.seed, problem.widht]]",
            "zip is 'problem.widht'; it must be a key of the problem or the optimizer; did you "
            "mean problem.width?",
        ),
        (
            "[[problem.dataset, problem.n_train], [problem.n_train, problem.seed]]",
            "zip is 'problem.n_train'; it must be named once: an axis advances with one other list",
        ),
        (
            "[problem.dataset, problem.n_train]",
            "zip is 'problem.dataset'; it must be lists of two or more keys, such as "
            "[problem.dataset, problem.n_train]",
        ),
        (
            "3",
            "zip is 3; it must be a list of lists of two or more keys, such as [problem.dataset, "
            "problem.n_train]",
        ),
    ],
)
def test_axes_that_cannot_advance_together_are_refused(zipped: str, sentence: str) -> None:
    assert refused(ZIPPED + f"zip: {zipped}") == sentence


def test_seeds_are_repeated_from_a_first_one() -> None:
    assert found(parse(POINT, ["problem.seed={repeat: 3}"]), "seed") == [(0,), (1,), (2,)]
    sweep = parse(POINT, ["problem.seed.repeat=2", "problem.seed.from=10"])
    assert found(sweep, "seed") == [(10,), (11,)]
    assert parse(dump(sweep)) == sweep
    text = POINT.replace("n_train: 100", "n_train: 100, seed: {repeat: 5}")
    assert len(parse(text).columns) == 5
    assert found(parse(text, ["problem.seed=7"]), "seed") == [(7,)]
    assert found(parse(text, ["problem.seed.repeat=1"]), "seed") == [(0,)]


def test_a_sweep_of_very_many_columns_is_written_in_few_lines() -> None:
    sweep = parse(POINT, ["problem.seed={repeat: 2000, from: 1}", "problem.width=[1, 2, 3, 4, 5]"])
    text = dump(sweep)
    assert len(text) < 1000
    again = parse(text)
    assert again == sweep
    assert len(again.columns) == 10_000


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "problem.seed={repeat: 0}",
            "problem.seed.repeat is 0; it must be a whole number of at least 1, at most 1000000",
        ),
        (
            "problem.seed={repaet: 3}",
            "problem.seed.repaet is not a known key; did you mean problem.seed.repeat?",
        ),
        (
            "problem.seed={from: 3}",
            "problem.seed.repeat is missing; it must be a whole number of at least 1, at most "
            "1000000",
        ),
        (
            "problem.seed={repeat: 3, from: -1}",
            "problem.seed.from is -1; it must be a whole number of at least 0, the first seed",
        ),
        (
            "problem.width={repeat: 3}",
            "problem.width is {'repeat': 3}; it must be a whole number of at least 1",
        ),
    ],
)
def test_wrong_repetitions_are_refused(override: str, sentence: str) -> None:
    assert refused(POINT, override) == sentence


def test_a_row_of_seeds_replaces_another_one() -> None:
    text = POINT.replace("100}", "100, seed: {repeat: 3, from: 10}}")
    assert found(parse(text, ["problem.seed={repeat: 2}"]), "seed") == [(0,), (1,)]
    assert found(parse(text, ["problem.seed.repeat=2"]), "seed") == [(0,), (1,)]
    both = ["problem.seed.repeat=2", "problem.seed.from=5"]
    assert found(parse(text, both), "seed") == [(5,), (6,)]
