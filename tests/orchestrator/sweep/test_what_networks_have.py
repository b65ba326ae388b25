"""An axis over what no network of a file has is a mistake; names of one problem are one column."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.sweep import SweepError, dump, load, load_kept, parse

NETWORKS = """
raise RuntimeError("a sweep file runs nothing")
def build(width, shape, outputs): ...
def plain(shape, outputs, **more): ...
from elsewhere import imported
"""
DIGITS = "dataset: digits, n_train: 60"
POINT = "dataset: 'point(x=[2, 1], truth=[1, 1])', n_train: 1, architecture: diagonal"
OWN = f"{DIGITS}, architecture: 'net.py:build'"
PLAIN = f"{DIGITS}, architecture: 'net.py:plain'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORKS)
    return tmp_path


def _text(problem: str) -> str:
    return f"{{name: n, problem: {{{problem}}}, eta: {{values: [1]}}, stop: {{epsilon: 0.3}}}}"


@pytest.mark.parametrize(
    ("problem", "key", "why"),
    [
        (f"{OWN}, depth: [1, 2]", "depth is [1, 2]", "net.py:build networks have no depth"),
        (f"{OWN}, activation: tanh", "activation is 'tanh'", "net.py:build networks have no act"),
        (f"{PLAIN}, width: 8", "width is 8", "net.py:plain networks have no width"),
        (f"{PLAIN}, parameterization: mup, base_width: 8", "parameterization is 'mup'", "net.py:p"),
        (f"{DIGITS}, depth: 0, width: [8, 16]", "width is [8, 16]", "fcn of depth 0 networks have"),
        (f"{DIGITS}, depth: 0, activation: elu", "activation is 'elu'", "fcn of depth 0 networks"),
        (
            f"{POINT}, seed: [0, 1]",
            "seed is [0, 1]",
            "diagonal networks draw nothing from the seed",
        ),
        (f"{POINT}, seed: {{repeat: 2}}", "seed is [0, 1]", "diagonal networks draw nothing"),
    ],
)
def test_what_no_network_has_is_refused(folder: Path, problem: str, key: str, why: str) -> None:
    with pytest.raises(SweepError) as refused:
        parse(_text(problem), folder=folder)
    assert str(refused.value).startswith(f"problem.{key}; it must be left out, for {why}")


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("imported", "its file must have a function imported, or, where that is imported or made"),
        ("build(heads)", "it must be one of fcn, cnn"),
    ],
)
def test_what_a_factory_takes_must_be_known(folder: Path, factory: str, says: str) -> None:
    with pytest.raises(SweepError) as refused:
        parse(_text(f"{DIGITS}, architecture: 'net.py:{factory}'"), folder=folder)
    expected = f"problem.architecture is 'net.py:{factory}'; {says}"
    assert str(refused.value).startswith(expected)


def _found(folder: Path, problem: str) -> list[tuple[object, ...]]:
    sweep = parse(_text(problem), folder=folder)
    assert parse(dump(sweep), folder=folder) == sweep
    named = ("width", "depth", "activation", "parameterization", "base_width", "seed")
    return [tuple(getattr(c.problem, name) for name in named) for c in sweep.columns]


def test_columns_have_only_what_their_networks_have(folder: Path) -> None:
    assert _found(folder, f"{OWN}, width: [8, 16], seed: 3") == [
        (8, None, None, "standard", None, 3),
        (16, None, None, "standard", None, 3),
    ]
    assert _found(folder, PLAIN) == [(None, None, None, "standard", None, 0)]
    assert _found(folder, f"{DIGITS}, architecture: ['net.py:plain', fcn], depth: [1, 2]") == [
        (None, None, None, "standard", None, 0),
        (200, 1, "relu", "standard", None, 0),
        (200, 2, "relu", "standard", None, 0),
    ]
    assert _found(folder, f"{DIGITS}, width: [8, 16], depth: [0, 1]") == [
        (None, 0, None, "standard", None, 0),
        (8, 1, "relu", "standard", None, 0),
        (16, 1, "relu", "standard", None, 0),
    ]
    assert _found(folder, POINT) == [(None, 2, None, "standard", None, None)]


def test_at_the_base_width_there_is_one_column(folder: Path) -> None:
    scaled = f"{DIGITS}, width: [8, 16], base_width: 8, parameterization"
    standard, mup = (8, 2, "relu", "standard", None, 0), (16, 2, "relu", "mup", 8, 0)
    assert _found(folder, f"{scaled}: mup") == [standard, mup]
    assert _found(folder, f"{scaled}: [ntk, mup]") == [standard, (*mup[:3], "ntk", 8, 0), mup]
    for named in ("mup", "[standard, ntk, mup]"):
        one = f"{DIGITS}, width: 8, base_width: 8, parameterization: {named}"
        assert _found(folder, one) == [standard]
    both = f"{DIGITS}, width: 8, base_width: [8, 16], parameterization: mup"
    assert _found(folder, both) == [standard, (8, 2, "relu", "mup", 16, 0)]


def test_a_name_that_says_what_a_factory_takes_is_taken_at_its_word(folder: Path) -> None:
    (column,) = parse(
        _text(f"{DIGITS}, architecture: 'net.py:imported(depth,width)', width: 8"), folder=folder
    ).columns
    assert column.problem.architecture.startswith("net.py:imported(width, depth)@")
    assert (column.problem.width, column.problem.depth, column.problem.activation) == (8, 2, None)


def test_what_an_earlier_version_kept_is_read_without_what_has_no_effect(folder: Path) -> None:
    """It had trials of each width of a linear model, and of each seed of a diagonal network."""
    kept = folder / "sweep.yaml"
    for problem in (
        f"{DIGITS}, depth: 0, width: [8, 16]",
        f"{POINT}, seed: {{repeat: 2, from: 0}}",
        f"{OWN}, depth: [1, 2]",
    ):
        kept.write_text(_text(problem))
        with pytest.raises(SweepError, match="it must be left out"):
            load(kept)
        assert len(load_kept(kept, "the file").columns) == 1
