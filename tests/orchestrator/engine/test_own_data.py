"""Data of the user's own in a sweep: named by their numbers, and kept with the run."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from jobs import datasets
from jobs.datasets import own
from orchestrator import sweep as sweeps
from orchestrator.engine import check_directory, prepare
from orchestrator.sweep import SweepError
from orchestrator.sweep.user_files import find_files

TEXT = """
name: own
problem: {dataset: [digits, "sets/mine.npz"], n_train: 6, width: 4}
eta: {values: [1]}
stop: {epsilon: 0.3}
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_known", {})


def save(path: Path, shift: float = 0.0) -> None:
    x, y = np.arange(16.0).reshape(8, 2) + shift, np.array([0, 1] * 4)
    np.savez(path, x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "sets").mkdir()
    save(tmp_path / "sets" / "mine.npz")
    path = tmp_path / "own.yaml"
    path.write_text(TEXT)
    return path


def data_of(sweep: sweeps.Sweep) -> str:
    (name,) = {c.problem.dataset for c in sweep.columns} - {"digits"}
    return name


def digest_in(name: str) -> str:
    return name.removeprefix("mine.npz(digest=").removesuffix(")")


def test_a_file_is_named_by_its_numbers_wherever_it_lies(config: Path, tmp_path: Path) -> None:
    name = data_of(sweeps.load(config))
    assert len(digest_in(name)) == 16
    save(tmp_path / "mine.npz")
    moved = sweeps.load(config, [f"problem.dataset={tmp_path / 'mine.npz'}"])
    assert data_of(moved) == name
    above = tmp_path / "above"
    above.mkdir()
    (above / "on.yaml").write_text("base: ../own.yaml\nname: on\n")
    assert data_of(sweeps.load(above / "on.yaml")) == name


def test_a_run_directory_keeps_the_numbers_and_needs_no_other(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    whole = prepare(run, sweeps.load(config))
    name = data_of(whole)
    copy = run / "data" / f"{digest_in(name)}.safetensors"
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert datasets.find(name).where == str(copy)
    (tmp_path / "sets" / "mine.npz").unlink()
    monkeypatch.setattr(own, "_known", {})  # as in another process
    assert sweeps.load(run / "sweep.yaml") == whole
    monkeypatch.setattr(own, "_known", {})
    find_files(run, (column.problem for column in whole.columns))
    (column,) = (c for c in whole.columns if c.problem.dataset == name)
    assert datasets.load(column.problem).train.inputs.shape == (6, 2)


def test_a_second_run_directory_gets_a_copy_of_its_own(config: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "first", sweeps.load(config))
    again = sweeps.load(tmp_path / "first" / "sweep.yaml")
    prepare(tmp_path / "second", again)
    (kept,) = (tmp_path / "second" / "data").iterdir()
    assert own.read(kept).digest == digest_in(data_of(again))


def test_a_file_that_changed_since_the_run_began_is_refused(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = digest_in(data_of(prepare(run, sweeps.load(config))))
    save(tmp_path / "sets" / "mine.npz", shift=1.0)
    changed = sweeps.load(config)
    said = (
        f"which has the digest {digest_in(data_of(changed))}; in this run directory it has {before}"
    )
    for refuses in (check_directory, prepare):
        with pytest.raises(SweepError, match=said):
            refuses(run, changed)
    assert len(list((run / "data").iterdir())) == 1
    save(tmp_path / "sets" / "mine.npz")
    prepare(run, sweeps.load(config, ["problem.width=8"]))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("sets/none.npz", "must be a readable npz file: No such file or directory"),
        ("sets/mine.npz(digest=0123456789abcdef)", "it must be the file with the digest that the"),
        ("sets/mine.npz(inputs=a)", "it must be without inputs"),
        ("sets/mine.py:load", "must be a readable py file"),
        ("mine.csv", "dataset is 'mine.csv'; it must be one of"),
    ],
)
def test_what_is_wrong_with_a_name_or_a_file_is_said_before_anything_runs(
    config: Path, dataset: str, said: str
) -> None:
    def check() -> None:
        for column in sweeps.load(config, [f"problem.dataset={dataset}"]).columns:
            datasets.check(column.problem)

    with pytest.raises((SweepError, datasets.DatasetError)) as error:
        check()
    assert said in str(error.value)


def test_the_file_is_run_once_for_a_sweep_and_not_again_for_its_run(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "calls"
    (tmp_path / "sets" / "mine.py").write_text(
        "import numpy as np\n"
        "def load():\n"
        f"    open({str(marks)!r}, 'a').write('x')\n"
        "    x, y = np.eye(4), np.array([0.5, 1.0, 2.0, 3.0])\n"
        "    return x, y, x, y\n"
    )
    sweep = sweeps.load(config, ["problem.dataset=sets/mine.py:load", "problem.n_train=4"])
    assert marks.read_text() == "x"
    prepare(tmp_path / "run", sweep)
    monkeypatch.setattr(own, "_known", {})
    sweeps.load(tmp_path / "run" / "sweep.yaml")
    assert marks.read_text() == "x"
