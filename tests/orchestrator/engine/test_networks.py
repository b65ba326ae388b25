"""Networks of the user's own: named by content, kept with the run, found by every process."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.models import custom
from orchestrator import sweep as sweeps
from orchestrator.engine import prepare
from orchestrator.engine.networks import network_errors
from orchestrator.engine.work import Assignment, Provenance, Work
from orchestrator.engine.worker import Worker
from orchestrator.sweep import Column, SweepError
from orchestrator.sweep.user_files import find_files

SOURCE = "def build(shape, width, depth, activation):\n    ...\n"
DIGEST = hashlib.sha256(SOURCE.encode()).hexdigest()[:16]
NAME = f"mynet.py:build(width, depth, activation)@{DIGEST}"

TEXT = """
name: own
problem: {dataset: digits, n_train: 60, architecture: [fcn, "nets/mynet.py:build"], width: 8}
eta: {values: [1]}
stop: {epsilon: 0.3}
"""


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom, "_paths", {})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "mynet.py").write_text(SOURCE)
    path = tmp_path / "own.yaml"
    path.write_text(TEXT)
    return path


def architectures(sweep: sweeps.Sweep) -> list[str]:
    return [column.problem.architecture for column in sweep.columns]


def test_a_file_is_named_by_its_content_wherever_it_lies(config: Path, tmp_path: Path) -> None:
    assert architectures(sweeps.load(config)) == ["fcn", NAME]
    absolute = tmp_path / "elsewhere" / "mynet.py"
    absolute.parent.mkdir()
    absolute.write_text(SOURCE)
    moved = sweeps.load(config, [f"problem.architecture={absolute}:build"])
    assert architectures(moved) == [NAME]
    assert custom.path_of(DIGEST) == absolute


def test_a_changed_file_is_another_problem(config: Path) -> None:
    before = sweeps.load(config)
    (config.parent / "nets" / "mynet.py").write_text(SOURCE + "\n")
    after = sweeps.load(config)
    same, other = (
        a.column_id == b.column_id for a, b in zip(before.columns, after.columns, strict=True)
    )
    assert (same, other) == (True, False)


def test_a_run_directory_keeps_the_file_and_needs_no_other(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = prepare(run, sweeps.load(config))
    copy = run / "models" / f"{DIGEST}.py"
    assert copy.read_text() == SOURCE
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert custom.path_of(DIGEST) == copy
    (config.parent / "nets" / "mynet.py").write_text("something else")
    assert sweeps.load(run / "sweep.yaml") == whole
    assert architectures(whole) == ["fcn", NAME]


def test_a_changed_file_extends_the_run_by_another_copy(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    prepare(run, sweeps.load(config))
    (config.parent / "nets" / "mynet.py").write_text(SOURCE + "\n")
    whole = prepare(run, sweeps.load(config))
    assert len(whole.columns) == 3
    assert len(list((run / "models").iterdir())) == 2
    assert sweeps.load(run / "sweep.yaml") == whole


def test_other_processes_find_the_copies(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sweep = prepare(run, sweeps.load(config))
    custom.register(DIGEST, Path("nowhere"))
    find_files(run, (column.problem for column in sweep.columns))
    assert custom.path_of(DIGEST) == run / "models" / f"{DIGEST}.py"


def test_a_worker_that_lives_on_finds_networks_that_came_later(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    builtin = prepare(run, sweeps.load(config, ["problem.architecture=fcn"])).columns[0]
    worker = Worker({"work": _work(run, builtin)})
    later = prepare(run, sweeps.load(config)).columns[1]
    monkeypatch.setattr(custom, "_paths", {})  # as in another process
    worker.reset_config({"work": _work(run, later)})
    assert custom.path_of(DIGEST) == run / "models" / f"{DIGEST}.py"


def _work(run: Path, column: Column) -> Work:
    """The flow of a column, as a worker gets it."""
    return Work(
        run=run,
        assignments=(Assignment(column.flow(), column.column_id, 1, None),),
        resources=column.resources,
        provenance=Provenance("own", "0", None, None, None, None),
        stop_file=run / "claims" / "stop",
        hold_file=run / "claims" / "hold",
        report_seconds=1.0,
        memory=None,
    )


def test_a_run_without_networks_of_its_own_keeps_none(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sweep = prepare(run, sweeps.load(config, ["problem.architecture=fcn"]))
    find_files(run, (column.problem for column in sweep.columns))
    assert not (run / "models").exists()


def test_conditions_may_name_the_file_too(config: Path) -> None:
    sweep = sweeps.load(
        config,
        [
            "when=[{match: {problem.architecture: 'nets/mynet.py:build'}, stop: {max_steps: 9}}]",
            "exclude=[{problem.architecture: ['nets/mynet.py:build'], problem.width: 8}]",
            "problem.width=[8, 16]",
        ],
    )
    found = [(c.problem.architecture, c.problem.width, c.protocol.max_steps) for c in sweep.columns]
    assert found == [("fcn", 8, 100_000), ("fcn", 16, 100_000), (NAME, 16, 9)]


def test_a_file_that_is_not_there_or_not_the_one_is_refused(config: Path, tmp_path: Path) -> None:
    def refused(named: str) -> str:
        with pytest.raises(SweepError) as error:
            sweeps.load(config, [f"problem.architecture={named}"])
        return str(error.value)

    assert refused("other.py:build") == (
        f"problem.architecture is 'other.py:build'; '{tmp_path}/other.py' must be a file that can "
        "be read, and is not"
    )
    assert "must be the file with this digest, and is not" in refused(
        "nets/mynet.py:build@0123456789abcdef"
    )
    assert refused("nets/mynet.py").startswith(
        "problem.architecture is 'nets/mynet.py'; it must be one of fcn, "
    )


def test_a_file_that_changes_while_a_run_begins_is_refused(config: Path, tmp_path: Path) -> None:
    sweep = sweeps.load(config)
    (config.parent / "nets" / "mynet.py").write_text("something else")
    with pytest.raises(SweepError, match="it has changed since the sweep was read"):
        prepare(tmp_path / "run", sweep)


BROKEN = "def build(width):\n    raise RuntimeError('boom')\n"


def _errors(config: Path, *overrides: str) -> list[str]:
    found = network_errors(sweeps.load(config, overrides).columns)
    return [str(error) for error, _ in found]


def test_each_network_that_cannot_be_made_is_told_with_its_columns(config: Path) -> None:
    (config.parent / "nets" / "mynet.py").write_text(BROKEN)
    overrides = ["problem.width=[8,16]", "problem.seed=[0,1]"]
    found = list(network_errors(sweeps.load(config, overrides).columns))
    says = "network mynet.py:build: the factory failed: RuntimeError: boom"
    assert [str(error) for error, _ in found] == [says] * 2
    assert [[(c.problem.width, c.problem.seed) for c in columns] for _, columns in found] == [
        [(8, 0), (8, 1)],
        [(16, 0), (16, 1)],
    ]
    with pytest.raises(SweepError, match="its file must have a function other, or, where that is"):
        _errors(config, "problem.architecture=nets/mynet.py:other")


def test_a_network_that_has_no_such_parameterization_is_told(config: Path) -> None:
    scaled = "problem.parameterization=mup", "problem.base_width=4"
    assert _errors(config, "problem.architecture=fcn", *scaled) == []
    fixed = "from torch import nn\ndef build(width, outputs):\n"
    fixed += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))\n"
    (config.parent / "nets" / "mynet.py").write_text(fixed)
    (says,) = _errors(config, "problem.architecture=nets/mynet.py:build", *scaled)
    assert says.startswith(
        "parameterization is 'mup'; it must be standard for mynet.py:build(width)"
    )
    assert says.endswith(" of width 8, no parameter of which changes with the width")


@pytest.mark.parametrize("scale", ["1e39", "1e-300"])
def test_initial_values_that_are_no_numbers_are_told(config: Path, scale: str) -> None:
    (says,) = _errors(config, "problem.architecture=fcn", f"problem.init_scale={scale}")
    assert says.startswith("init_scale is ")


def test_simple_networks_are_not_tried(config: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator import sweep; "
        "from orchestrator.engine.networks import network_errors; "
        f"found = sweep.load(Path({str(config)!r}), ['problem.architecture=fcn']); "
        "print(list(network_errors(found.columns)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"
