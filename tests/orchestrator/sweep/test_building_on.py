"""What files that build on others come to, and what the command line makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sweeps import POINT, found

from orchestrator.sweep import SweepError, dump, load, parse

DIAGONAL = POINT.replace(
    "dataset: digits, n_train: 100", "dataset: 'point(x=[2, 1], truth=[1, 1])'"
)
DIAGONAL = DIAGONAL.replace(
    "point\nproblem: {", "diagonal\nproblem: {n_train: 1, architecture: diagonal, "
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a united sweep of fully connected and diagonal networks."""
    (tmp_path / "fcn.yaml").write_text(
        POINT.replace("100}", "100, width: [8, 16], loss: [mse, ce]}")
    )
    (tmp_path / "diagonal.yaml").write_text(DIAGONAL)
    (tmp_path / "all.yaml").write_text("name: all\nunite: [fcn.yaml, diagonal.yaml]\n")
    return tmp_path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(SweepError) as error:
        load(path, overrides)
    return str(error.value)


def test_what_a_file_says_wins_over_the_blocks_and_conditions_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        POINT + "grids: [{problem: {width: [8, 16]}}, {problem: {depth: 1}}]\n"
        "when: [{match: {problem.n_train: 100}, stop: {epsilon: 0.5}}]\n"
    )
    (tmp_path / "own.yaml").write_text(
        "name: own\nbase: base.yaml\nproblem: {width: 99, depth: 3}\nstop: {epsilon: 0.01}\n"
    )
    own = load(tmp_path / "own.yaml")
    assert found(own, "width", "depth") == [(99, 3)]
    assert own.columns[0].protocol.epsilons == (0.01,)
    said = ["problem.width=99", "problem.depth=3", "stop.epsilon=0.01"]
    assert own.columns == load(tmp_path / "base.yaml", said).columns


def test_blocks_of_a_file_win_over_what_it_says_for_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(POINT)
    text = "name: own\nbase: base.yaml\nproblem: {width: 8}\ngrids: [{}, {problem: {width: 16}}]\n"
    (tmp_path / "own.yaml").write_text(text)
    assert found(load(tmp_path / "own.yaml"), "width") == [(8,), (16,)]


def test_a_base_in_another_folder_names_its_files_from_there(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (below / "fcn.yaml").write_text(POINT)
    (below / "all.yaml").write_text("unite: [fcn.yaml]\n")
    (below / "net.py").write_text("def build(): pass\n")
    (below / "own.yaml").write_text(POINT.replace("100}", "100, architecture: 'net.py:build'}"))
    (tmp_path / "united.yaml").write_text("name: united\nbase: below/all.yaml\n")
    (tmp_path / "based.yaml").write_text("name: based\nbase: below/own.yaml\n")
    assert found(load(tmp_path / "united.yaml"), "dataset") == [("digits",)]
    (based,), (own,) = load(tmp_path / "based.yaml").columns, load(below / "own.yaml").columns
    assert based.problem.architecture == own.problem.architecture
    assert based.problem.architecture.startswith("net.py:build()@")


def test_a_long_chain_of_bases_is_no_circle_and_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text(POINT)
    for number in range(1, 30):
        (tmp_path / f"{number}.yaml").write_text(f"name: n{number}\nbase: {number - 1}.yaml\n")
    assert found(load(tmp_path / "29.yaml"), "dataset") == [("digits",)]
    (tmp_path / "0.yaml").write_text("name: n0\nbase: 29.yaml\n")
    assert refusal(tmp_path / "3.yaml") == "base is '3.yaml'; it must not lead back to itself"
    (tmp_path / "self.yaml").write_text("name: self\nunite: [self.yaml]\n")
    assert "must not lead back to itself" in refusal(tmp_path / "self.yaml")


def test_a_file_may_narrow_what_its_base_excludes_and_conditions(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        POINT.replace("100}", "100, loss: [mse, ce]}")
        + "when: [{match: {problem.loss: ce}, stop: {epsilon: 0.5}}]\n"
    )
    (tmp_path / "own.yaml").write_text("name: own\nbase: base.yaml\nproblem: {loss: mse}\n")
    own = load(tmp_path / "own.yaml")
    assert found(own, "loss") == [("mse",)]
    assert parse(dump(own)) == own
    with (tmp_path / "own.yaml").open("a") as file:
        file.write("exclude: [{problem.loss: ce}]\n")
    assert refusal(tmp_path / "own.yaml").startswith(
        "exclude[0] is {'problem.loss': 'ce'}; it must"
    )


def test_an_override_need_not_concern_every_file_that_is_united(files: Path) -> None:
    assert len(load(files / "all.yaml").columns) == 5
    for override, left in (
        ("exclude=[{problem.architecture: diagonal}]", 4),
        ("exclude=[{problem.loss: ce}]", 3),
        ("exclude=[{problem.architecture: fcn}]", 1),
        ("problem.width=32", 3),
        ("when=[{match: {problem.loss: ce}, stop: {epsilon: 0.5}}]", 5),
    ):
        changed = load(files / "all.yaml", [override])
        assert len(changed.columns) == left, override
        assert parse(dump(changed)) == changed


def test_an_override_must_concern_some_file_that_is_united(files: Path) -> None:
    both = "exclude=[{problem.architecture: [fcn, diagonal]}]"
    assert (
        refusal(files / "all.yaml", both) == "exclude leaves no column; it must leave at least one"
    )
    fits = "; it must fit a column of the sweep, but none has these values"
    assert refusal(files / "all.yaml", "exclude=[{problem.width: 9}]") == (
        "exclude[0] is {'problem.width': 9}" + fits
    )
    (files / "all.yaml").write_text("name: all\nunite: [diagonal.yaml]\n")
    assert refusal(files / "all.yaml", "problem.width=32").startswith(
        "problem.width is 32; it must"
    )


def test_a_united_sweep_takes_another_name_as_any_value(files: Path) -> None:
    assert load(files / "all.yaml", ["name='zz'"]).name == "zz"
    (files / "all.yaml").write_text("unite: [fcn.yaml]\n")
    assert load(files / "all.yaml", ["name=other"]).name == "other"
    assert refusal(files / "all.yaml").startswith("name is missing")


def test_files_that_want_one_column_handled_differently_are_named(files: Path) -> None:
    (files / "more.yaml").write_text(
        POINT.replace("100}", "100, width: 8}") + "resources: {workers: 2}"
    )
    (files / "all.yaml").write_text("name: all\nunite: [fcn.yaml, more.yaml]\n")
    assert refusal(files / "all.yaml") == (
        f"the sweep file '{files / 'more.yaml'}': resources.workers is 2 but the sweep file "
        f"'{files / 'fcn.yaml'}': resources.workers is 1 for the same column; "
        "it must be the same in both"
    )
