"""``eos launch`` and ``eos doctor`` on a machine without SLURM."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.execution import work
from orchestrator.slurm.records import read_jobs
from orchestrator.slurm.terms import Terms

Eos = Callable[..., Any]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text("partition: main\ncpus_per_node: 4\ntime: 1:00:00\n")
    return path


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("command", ["launch", "doctor"])
def test_help_has_an_example(eos: Eos, command: str) -> None:
    assert f"Example: eos {command} " in eos(command, "--help").out


@pytest.mark.usefixtures("no_slurm")
def test_a_dry_run_prints_the_script_and_writes_nothing(
    eos: Eos, config: Path, profile: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = eos("launch", config, "--cluster", profile, "--run-dir", tmp_path / "r", "--dry-run")
    assert answer.status == 0
    assert "#!/bin/bash\n" in answer.out
    assert "#SBATCH --time=60\n" in answer.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("no_slurm")
def test_without_slurm_nothing_is_launched(
    eos: Eos, config: Path, profile: Path, tmp_path: Path
) -> None:
    answer = eos("launch", config, "--cluster", profile, "--run-dir", tmp_path / "r")
    assert answer.status == 2
    assert answer.error == (
        "nothing was submitted, for SLURM gave no answer: squeue is not installed here"
    )
    resumed = eos("resume", tmp_path / "r", "--cluster", profile)
    assert (resumed.status, resumed.error) == (2, answer.error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("problem.n_train=5000", "n_train is 5000; it must be at most 1297"),
        ("resources.cpus_per_worker=5", "resources.cpus_per_worker is 5; it must be at most 4"),
        ("problem.widht=3", "did you mean problem.width?"),
    ],
)
def test_what_jobs_could_not_run_is_refused_before_anything_is_written(
    eos: Eos, config: Path, profile: Path, tmp_path: Path, change: str, said: str
) -> None:
    run = tmp_path / "r"
    answer = eos("launch", config, change, "--cluster", profile, "--run-dir", run)
    assert (answer.status, said in answer.error) == (2, True)
    assert not run.exists()


def test_a_run_directory_that_others_may_write_to_is_refused(
    eos: Eos, config: Path, profile: Path, tmp_path: Path
) -> None:
    run = tmp_path / "r"
    run.mkdir()
    run.chmod(0o777)
    answer = eos("launch", config, "--cluster", profile, "--run-dir", run)
    assert (answer.status, "has mode 777" in answer.error) == (2, True)


@pytest.mark.usefixtures("no_slurm")
def test_the_doctor_needs_slurm_only_for_a_profile(
    eos: Eos, profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = eos("doctor", "--json")
    found = {row["check"]: row for row in json.loads(alone.out)}
    assert alone.status == 0
    assert found["SLURM"]["found"] == "none"
    assert {"python", "torch", "ray", "eos-sweep", "CPUs", "memory"} <= set(found)
    answer = eos("doctor", "--cluster", profile, "--json")
    problems = [row["problem"] for row in json.loads(answer.out) if row["problem"]]
    assert answer.status == 1
    assert problems == [
        "sbatch is not installed here",
        "no node could be asked, for srun says: srun is not installed here",
    ]
    assert [path.name for path in tmp_path.iterdir()] == [profile.name]


def test_a_job_on_an_unfit_node_ends_with_a_sentence_and_status_2(
    half_done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 3600))
    with pytest.raises(SystemExit) as ended:
        work(half_done, Terms(interface="ib9"))
    assert ended.value.code == 2
    assert "eos: this node cannot run trials: interface is 'ib9'" in capsys.readouterr().err
    assert read_jobs(half_done)["17"].incarnations[0].end == "error"
