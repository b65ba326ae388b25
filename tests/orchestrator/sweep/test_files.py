"""Sweep files that build on others, and the experiments of the paper, which are such files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from orchestrator.sweep import SweepError, dump, load, parse

PAPER = Path(__file__).parents[3] / "configs" / "paper"
EXPERIMENTS = sorted(PAPER.glob("e[0-9][0-9]_*.yaml"))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_what_a_file_leaves_out_is_that_of_its_base(tmp_path: Path, small: str) -> None:
    write(tmp_path, "base.yaml", small)
    path = write(tmp_path, "more.yaml", "name: more\nbase: base.yaml\nproblem: {width: [8, 16]}\n")
    expected = parse(small.replace("width: 64", "width: [8, 16]").replace("small", "more"))
    assert load(path) == expected
    assert load(path, ["problem.width=8"]) == parse(dump(expected), ["problem.width=8"])


def test_a_base_has_a_base_and_is_looked_for_from_where_it_is_named(
    tmp_path: Path, small: str
) -> None:
    write(tmp_path, "low/low.yaml", small)
    write(tmp_path, "low/base.yaml", "base: low.yaml\nstop: {max_steps: 7}\n")
    path = write(tmp_path, "more.yaml", "name: more\nbase: low/base.yaml\n")
    (column,) = load(path).columns
    assert (column.protocol.max_steps, column.protocol.epsilons) == (7, (0.1,))


def test_files_are_united_and_what_they_share_is_there_once(tmp_path: Path, small: str) -> None:
    write(tmp_path, "one.yaml", small.replace("width: 64", "width: [8, 16]"))
    write(tmp_path, "two.yaml", small.replace("width: 64", "width: [16, 32]"))
    path = write(tmp_path, "all.yaml", "name: all\nunite: [one.yaml, two.yaml]\n")
    sweep = load(path)
    assert sweep.name == "all"
    assert [column.problem.width for column in sweep.columns] == [8, 16, 32]
    assert parse(dump(sweep)) == sweep
    assert {c.n_rates for c in load(path, ["eta.values=[1]"]).columns} == {1}
    assert load(path, ["name=other"]).name == "other"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nbase: 3\n", "base is 3; it must be the name of a sweep file"),
        ("name: a\nunite: one.yaml\n", "unite is 'one.yaml'; it must be a list of sweep files"),
        ("name: a\nunite: []\n", "unite is []; it must be a list of sweep files"),
        ("name: a\nunite: [x.yaml]\neta: {values: [1]}\n", "eta stands beside unite; it must"),
        ("name: a\nbase: circle.yaml\n", "base is 'circle.yaml'; it must not lead back to itself"),
        ("name: a\nunite: [circle.yaml]\n", "unite is ['circle.yaml']; it must not lead back"),
        ("unite: [one.yaml]\n", "name is missing; it must be text"),
    ],
)
def test_a_wrong_combination_of_files_is_refused_by_one_sentence(
    tmp_path: Path, small: str, text: str, said: str
) -> None:
    write(tmp_path, "one.yaml", small)
    path = write(tmp_path, "circle.yaml", text)
    with pytest.raises(SweepError) as caught:
        load(path)
    assert str(caught.value).startswith(said)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "name: a\nbase: lost.yaml\n")
    with pytest.raises(SweepError, match=r"the base '.*/lost.yaml' does not exist"):
        load(path)
    path = write(tmp_path, "b.yaml", "name: b\nunite: [lost.yaml]\n")
    with pytest.raises(SweepError, match=r"the sweep file '.*/lost.yaml' does not exist"):
        load(path)


def test_there_is_a_file_for_every_experiment_and_one_for_all() -> None:
    assert [path.name[1:3] for path in EXPERIMENTS] == [f"{n:02}" for n in range(1, 22)]
    whole = {column.column_id: column for column in load(PAPER / "full.yaml").columns}
    for path in EXPERIMENTS:
        sweep = load(path)
        assert sweep.name == path.stem.replace("_", "-")
        for column in sweep.columns:
            rates = {(eta.unit, rate) for eta in column.etas for rate in eta.multiples}
            united = {
                (eta.unit, rate) for eta in whole[column.column_id].etas for rate in eta.multiples
            }
            assert rates <= united


def test_no_trial_of_the_paper_is_computed_twice() -> None:
    """A problem under two protocols would be two columns of the same runs, and so would one whose
    parameterization changes nothing, for it is at its base width."""
    columns = load(PAPER / "full.yaml").columns
    assert max(Counter(column.problem for column in columns).values()) == 1
    assert not [c.problem for c in columns if c.problem.base_width == c.problem.width is not None]
