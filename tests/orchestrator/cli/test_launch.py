"""``eos launch`` and ``eos doctor`` on a machine without SLURM."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import DelayedSubmission, JobPaths
from support.slurm_programs import FakeSlurm, queue_line

from orchestrator.cli.execution import work
from orchestrator.ledger import attempt_row, commit_attempt, utc
from orchestrator.slurm.profile import JobSettings
from orchestrator.slurm.queue import job_name
from orchestrator.slurm.records import (
    StartRecord,
    Submission,
    read_jobs,
    record_start,
    record_submission,
)
from orchestrator.sweep import load

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


@pytest.mark.parametrize("hours", ["0", "-3", "inf", "nan"])
def test_a_budget_is_a_number_of_hours(
    eos: Eos, config: Path, profile: Path, tmp_path: Path, hours: str
) -> None:
    where = ("--cluster", profile, "--run-dir", tmp_path / "r")
    answer = eos("launch", config, *where, f"--budget={hours}")
    assert answer.status == 2
    assert answer.error == f"--budget is {float(hours):g}; it must be a number of hours above 0"
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("no_slurm")
def test_without_slurm_nothing_is_launched(
    eos: Eos, config: Path, profile: Path, tmp_path: Path
) -> None:
    answer = eos("launch", config, "--cluster", profile, "--run-dir", tmp_path / "r")
    assert answer.status == 2
    assert answer.error == (
        "nothing was submitted: SLURM gave no answer: squeue is not installed here"
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
        "no node could be asked: srun says srun is not installed here",
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
        work(half_done, JobSettings(interface="ib9"))
    assert ended.value.code == 2
    assert "eos: this node cannot run trials: interface is 'ib9'" in capsys.readouterr().err
    assert read_jobs(half_done)["17"].starts[0].end == "error"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm-programs")
    monkeypatch.setenv("PATH", str(fake.programs))
    fake.answers("sbatch", "Submitted batch job 22\n")
    return fake


@pytest.fixture
def resume(eos: Eos, half_done: Path, profile: Path) -> Callable[..., Any]:
    """Asks for jobs on the half-done run, without a look at the nodes."""
    return lambda *more: eos(
        "resume", half_done, "--cluster", profile, "--preflight-wait", "0", *more
    )


def started(run: Path, job_id: str, **values: Any) -> str:
    """Put a job on record that was submitted and has started; its line in the queue."""
    name, now = job_name(run, "small"), time.time()
    capacity = {key: values.pop(key, 4) for key in ("nodes", "cpus")}
    record_submission(run, Submission(job_id, name, now, "site", key="k", **capacity))
    record_start(run, StartRecord(job_id, 0, ("n1",), "n1", now, None, key="k", **values))
    return name


def test_jobs_that_end_do_not_count(
    resume: Callable[..., Any], half_done: Path, slurm: FakeSlurm
) -> None:
    name = started(half_done, "18")
    started(half_done, "19", leaving=True)
    started(half_done, "20", end="cancelled")
    started(half_done, "21")
    slurm.answers(
        "squeue",
        "".join(
            queue_line(job_id, state, name=name)
            for job_id, state in (
                ("18", "COMPLETING"), ("19", "RUNNING"), ("20", "RUNNING"), ("21", "RUNNING"),
            )
        ),
    )  # fmt: skip
    answer = resume("--jobs", "2")
    assert answer.status == 0, answer.error
    assert "in the queue, but not counted: 18, because it ends" in answer.out
    assert "in the queue already: 21\nsubmitted: 22\n" in answer.out
    content = json.loads(resume("--jobs", "1", "--json").out)
    assert (content["submitted"], content["live"]) == ([], ["21"])
    assert sorted(content["not_counted"]) == ["18", "19", "20"]


def test_a_job_whose_nodes_are_too_small_for_what_was_added_does_not_count(
    resume: Callable[..., Any], eos: Eos, half_done: Path, config: Path, profile: Path,
    slurm: FakeSlurm,
) -> None:  # fmt: skip
    name = started(half_done, "18", nodes=1, cpus=1)
    started(half_done, "19", nodes=1, cpus=2)
    slurm.answers("squeue", queue_line("18", name=name) + queue_line("19", name=name))
    assert json.loads(resume("--json").out)["live"] == ["18", "19"]
    answer = eos(
        "launch", config, "problem.seed=7", "resources.cpus_per_worker=2", "--cluster", profile,
        "--run-dir", half_done, "--preflight-wait", "0", "--jobs", "2", "--json",
    )  # fmt: skip
    content = json.loads(answer.out[answer.out.index("{") :])
    assert (content["live"], content["submitted"]) == (["19"], ["22"])
    assert content["not_counted"] == {"18": "its nodes are too small for some of what is missing"}


def test_each_job_gets_the_key_that_is_on_record(
    resume: Callable[..., Any], half_done: Path, slurm: FakeSlurm
) -> None:
    record_start(half_done, StartRecord("22", 3, ("n1",), "n1", 0.0, None, key="old"))
    assert resume().status == 0
    record = read_jobs(half_done)["22"]
    assert record.submission is not None
    assert (record.starts, len(record.earlier)) == ((), 1)
    pickle = half_done / "slurm" / "22" / "22_submitted.pkl"
    (_, settings) = DelayedSubmission.load(pickle).args
    assert settings.key == record.submission.key != ""


def test_where_only_failed_trials_are_left_the_status_is_3_until_they_are_asked_for(
    resume: Callable[..., Any], half_done: Path, slurm: FakeSlurm
) -> None:
    flow = load(half_done / "sweep.yaml").columns[0].flow()
    for table in ("trials", "attempts"):
        for path in (half_done / table).glob("*.parquet"):
            path.unlink()
    now = utc(time.time())
    row = attempt_row(
        flow.trial_id, flow.column_id, 1, "failed",
        hostname="n1", started_at=now, finished_at=now, failure_class="numerics",
    )  # fmt: skip
    commit_attempt(half_done, row)
    answer = resume()
    assert answer.status == 3
    assert "has failed (1 trials) or is blocked by that (3 trials)" in answer.out
    assert "its flow failed" in answer.out
    assert f"resume {half_done} --failed --cluster FILE" in answer.out
    assert slurm.calls() == []
    assert resume("--failed").status == 0
    assert slurm.calls("sbatch") != []


def _full(*arguments: object, **named: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_job_that_was_submitted_when_the_disk_was_full_is_named(
    resume: Callable[..., Any], half_done: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.slurm.submission.record_submission", _full)
    answer = resume("--jobs", "3")
    assert answer.status == 2
    assert "submitted: 22" in answer.out
    assert "1 of 3 jobs were submitted: job 22 was submitted and will work" in answer.out
    assert "No space left on device" in answer.out
    assert len(slurm.calls("sbatch")) == 1


def test_a_job_without_its_files_is_taken_back(
    resume: Callable[..., Any], slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobPaths, "move_temporary_file", _full)
    answer = resume()
    assert answer.status == 2
    assert "job 22 was submitted, but the files that it needs could not be" in answer.error
    assert answer.error.endswith("it was cancelled")
    assert slurm.calls("scancel") == ["--quiet 22"]
