"""What would be submitted: a script that can be read without SLURM, and where it may lie."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engine import columns_that_fit, refuse_too_large
from orchestrator.slurm.preflight import srun_command
from orchestrator.slurm.profile import parse_profile
from orchestrator.slurm.queue import job_name
from orchestrator.slurm.records import private_folder, refuse_odd_path, refuse_shared
from orchestrator.slurm.submission import (
    launching,
    outside_jobs,
    plan_submission,
    reason,
    submitting,
)
from orchestrator.sweep import SweepError, parse

FULL = """
partition: gpu
account: mine
nodes: 2
gpus_per_node: 4
cpus_per_node: 16
memory_per_node: 64G
time: 1-12:00:00
constraint: a100|h100
reservation: ours
clusters: big
extra: {mail_type: END, exclusive: true, comment: "it's #1"}
setup: [module load cuda, "export A='b c'"]
python: /opt/my env/bin/python
stop_seconds_before_end: 300
"""

GOLDEN = """\
#!/bin/bash

# Parameters
#SBATCH --account=mine
#SBATCH --clusters=big
#SBATCH --comment='it'"'"'s #1'
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --job-name=eos-s-0123abcd
#SBATCH --mail-type=END
#SBATCH --mem=64G
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/runs/a b/slurm/%j/%j_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --reservation=ours
#SBATCH --signal=USR2@300
#SBATCH --time=2160

# setup
module load cuda
export A='b c'

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/runs/a b/slurm/%j/%j_%t_log.out' --ntasks-per-node=1 \
--cpus-per-task=16 --export=ALL --kill-on-bad-exit=1 --wait=0 '/opt/my env/bin/python' -P \
-m orchestrator.signals -u -m submitit.core._submit '/runs/a b/slurm/%j'
"""


def test_the_script_of_a_full_profile() -> None:
    plan = plan_submission(Path("/runs/a b"), parse_profile(FULL), "site", 3, "eos-s-0123abcd")
    assert plan.text == GOLDEN
    assert plan.count == 3


def test_the_script_of_the_least_profile_leaves_the_rest_to_the_site() -> None:
    plan = plan_submission(Path("/runs/a"), parse_profile("cpus_per_node: 1"), "site", 1, "eos-s")
    options = [line.split("=")[0].split()[1] for line in plan.text.splitlines() if "SBATCH" in line]
    assert options == [
        "--cpus-per-task", "--job-name", "--nodes", "--ntasks-per-node", "--open-mode", "--output",
        "--requeue", "--signal",
    ]  # fmt: skip
    assert sys.executable in plan.text


def test_no_time_limit_is_asked_for_by_its_word() -> None:
    profile = parse_profile("cpus_per_node: 1\ntime: INFINITE")
    assert "#SBATCH --time=UNLIMITED\n" in plan_submission(Path("/r"), profile, "", 1, "n").text


@pytest.mark.parametrize("name", ["it's", 'q"q', "a b", "ü", "$HOME", "`x`", "a;b", "*"])
def test_odd_paths_reach_python_as_they_are(name: str) -> None:
    run = Path("/runs") / name
    plan = plan_submission(run, parse_profile("cpus_per_node: 1"), "site", 1, "eos-s")
    assert shlex.split(plan.text.splitlines()[-1])[-1] == str(run / "slurm" / "%j")
    refuse_odd_path(run)


@pytest.mark.parametrize("name", ["50%", "%j", "a\\b", "a\nb", "a\x7f"])
def test_paths_that_slurm_would_change_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="for SLURM jobs it must be free of"):
        refuse_odd_path(tmp_path / name)


def test_a_name_belongs_to_one_run_directory(tmp_path: Path) -> None:
    name = job_name(tmp_path / "a", "s")
    assert name == job_name(tmp_path / "b" / ".." / "a", "s")
    assert name != job_name(tmp_path / "b", "s")


def test_the_folder_of_jobs_is_private(tmp_path: Path) -> None:
    run = tmp_path / "run"
    refuse_shared(run)
    run.mkdir(mode=0o755)
    assert private_folder(run).stat().st_mode & 0o777 == 0o700
    for folder in (run / "slurm", run):
        folder.chmod(0o770)
        with pytest.raises(SweepError, match=f"{folder} has mode 770; others must not be able"):
            private_folder(run)
        folder.chmod(0o700)


def test_a_link_or_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "slurm").symlink_to(tmp_path)
    with pytest.raises(SweepError, match="is not a folder"):
        refuse_shared(run)
    if os.getuid() == 0:
        (run / "slurm").unlink()
        os.chown(run, 65_534, 65_534)
        with pytest.raises(SweepError, match="belongs to user 65534; it must belong to you"):
            refuse_shared(run)


def test_one_launch_at_once(tmp_path: Path) -> None:
    with launching(tmp_path) as first, launching(tmp_path) as second:
        assert (first, second) == (True, False)
    with launching(tmp_path) as again:
        assert again


def test_a_short_job_is_warned_after_three_quarters_of_its_time(tmp_path: Path) -> None:
    profile = parse_profile("cpus_per_node: 1\ntime: 2\nstop_seconds_before_end: 100")
    assert "--signal=USR2@30\n" in plan_submission(tmp_path, profile, "", 1, "n").text


SWEEP = """
name: s
problem: {dataset: digits, n_train: 10}
eta: {values: [1]}
stop: {epsilon: 0.1}
resources: {workers: WORKERS, cpus_per_worker: CPUS, gpus_per_worker: GPUS}
"""


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "said"),
    [
        (1, 8, 0, "resources.cpus_per_worker is 8; it must be at most 6"),
        (5, 3, 0, "resources.workers is 5; it must be at most 4"),
        (4, 1, 1, "resources.workers is 4; it must be at most 2"),
        (4, 3, 0, None),
        (2, 6, 1, None),
    ],
)
def test_a_trial_must_fit_the_nodes_of_a_job(
    workers: int, cpus: int, gpus: int, said: str | None
) -> None:
    profile = parse_profile("nodes: 2\ncpus_per_node: 6\ngpus_per_node: 1")
    text = SWEEP.replace("WORKERS", f"{workers}").replace("CPUS", f"{cpus}")
    columns = parse(text.replace("GPUS", f"{gpus}")).columns
    if said is None:
        refuse_too_large(columns, profile.allocation)
    else:
        with pytest.raises(SweepError, match=said):
            refuse_too_large(columns, profile.allocation)


def test_columns_that_do_not_fit_are_told_from_those_that_do() -> None:
    allocation = parse_profile("nodes: 1\ncpus_per_node: 2").allocation
    text = SWEEP.replace("WORKERS", "1").replace("GPUS", "0")
    small, large = (parse(text.replace("CPUS", cpus)).columns[0] for cpus in ("2", "4"))
    fit, reasons = columns_that_fit([small, large, large], allocation)
    assert fit == (small,)
    (reason,) = reasons
    assert reason.startswith("resources.cpus_per_worker is 4; it must be at most 2")


def test_what_an_enclosing_job_left_behind_is_not_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    mask = os.umask(0o022)
    try:
        with submitting():
            assert "SLURM_JOB_ID" not in os.environ
            assert "SBATCH_TIMELIMIT" not in os.environ
            assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
            assert os.environ["SBATCH_ACCOUNT"] == "mine"
            assert os.umask(0o077) == 0o077
        assert os.environ["SLURM_JOB_ID"] == "7"
        assert "SLURM_JOB_ID" not in outside_jobs(os.environ)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)


def test_the_reason_of_a_refusal_is_what_stands_after_error() -> None:
    errors = (
        "srun: job 5 queued\nsbatch: error: QOSMaxSubmitJobPerUserLimit\n"
        "sbatch: error: Batch job submission failed: too many\n"
    )
    said = "QOSMaxSubmitJobPerUserLimit; Batch job submission failed: too many"
    assert reason(errors, 1) == said
    assert reason("", 2) == "exit status 2"


def test_nodes_are_asked_for_as_jobs_ask_for_them(tmp_path: Path) -> None:
    profile = parse_profile(FULL + "interface: ib0")
    command = srun_command(tmp_path, profile, 7)
    assert command[0] == "srun"
    for option in (
        "--immediate=7", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=16", "--mem=64G",
        "--gpus-per-node=4", "--partition=gpu", "--account=mine", "--clusters=big", "--exclusive",
    ):  # fmt: skip
        assert option in command
    assert "--mail-type=END" not in command
    assert command[-3:-1] == ["/bin/bash", "-c"]
    assert subprocess.run(["bash", "-n", "-c", command[-1]], check=False).returncode == 0
    assert "module load cuda\n" in command[-1]
