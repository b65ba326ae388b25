"""Submission through submitit: a plan that can be printed, and its execution."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.slurm.command import SlurmUnavailable, ask
from orchestrator.slurm.profile import JobSettings, Profile
from orchestrator.slurm.records import Submission, new_key, private_folder, record_submission

Work = Callable[[Path, JobSettings], None]
"""What each task of a job does; pickled by its name, so that it must be one of a module."""

LIMITS = (
    "MaxSubmit",  # QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit and their like
    "job submit limit",
    "Resource temporarily unavailable",  # MaxJobCount, after sbatch has tried again for a while
    "temporarily unable to accept job",
)
"""What sbatch says when there are too many jobs already, and not that a job is wrong."""


@dataclass(frozen=True)
class SubmissionPlan:
    """``count`` equal jobs for a run: each is the sbatch script ``text`` under the name ``name``.

    They are single jobs, no array: a site's MaxArraySize is no limit, and each ends, fails and
    goes back into the queue for itself.
    """

    run: Path
    profile: Profile
    profile_name: str
    name: str
    count: int
    text: str


@dataclass(frozen=True)
class Submitted:
    """The jobs that were submitted, and why it were not all that were planned.

    ``problem`` is what went wrong on our side after SLURM had taken the last one.
    """

    job_ids: tuple[str, ...]
    refusal: str | None = None
    at_limit: bool = False
    problem: str | None = None


def plan_submission(
    run: Path, profile: Profile, profile_name: str, count: int, name: str
) -> SubmissionPlan:
    """What would be submitted; needs no SLURM and writes nothing."""
    run = run.resolve()
    from orchestrator.slurm.submitit_executor import JobExecutor  # takes a while

    text = JobExecutor(run, profile, name).script()
    return SubmissionPlan(run, profile, profile_name, name, count, text)


def submit(plan: SubmissionPlan, settings: JobSettings, work: Work) -> Submitted:
    """Submit the jobs of a plan one by one, each put on record directly after its sbatch.

    Each is told ``settings`` and does ``work``. When SLURM refuses one, those before it stay: they
    share what is missing.
    """
    from orchestrator.slurm.submitit_executor import JobExecutor, SubmissionErrors

    folder = private_folder(plan.run)
    job_ids: list[str] = []
    with submitting():
        executor = JobExecutor(plan.run, plan.profile, plan.name)
        for _ in range(plan.count):
            before, key = set(folder.iterdir()), new_key()
            executor.last_taken()
            try:
                job = executor.submit(work, plan.run, replace(settings, key=key))
            except SubmissionErrors as error:
                _remove_unsubmitted(folder, before)
                why = reason(str(error), 1)
                if taken := executor.last_taken():
                    problem = _take_back(taken, plan.profile.clusters, why)
                    return Submitted(tuple(job_ids), problem=problem)
                return Submitted(tuple(job_ids), why, any(sign in str(error) for sign in LIMITS))
            job_ids.append(job.job_id)
            try:
                record_submission(plan.run, _submission(plan, job.job_id, key))
                _remove_links(folder)
            except OSError as error:
                problem = (
                    f"job {job.job_id} was submitted and will work, but could not be put on record "
                    f"({reason(str(error), 1)})"
                )
                return Submitted(tuple(job_ids), problem=problem)
    return Submitted(tuple(job_ids))


def _submission(plan: SubmissionPlan, job_id: str, key: str) -> Submission:
    profile = plan.profile
    return Submission(
        job_id=job_id,
        name=plan.name,
        submitted_at=time.time(),
        profile=plan.profile_name,
        clusters=profile.clusters,
        key=key,
        nodes=profile.nodes,
        cpus=profile.cpus_per_node,
        gpus=profile.gpus_per_node,
    )


def _take_back(job_id: str, clusters: str | None, why: str) -> str:
    """Cancel a job that was submitted without the files that it needs; says what happened."""
    option = [f"--clusters={clusters}"] if clusters else []
    begin = f"job {job_id} was submitted, but the files that it needs could not be written ({why})"
    try:
        ask("scancel", [*option, "--quiet", job_id])
    except SlurmUnavailable as error:
        return f"{begin}, nor could it be cancelled ({error.reason}): scancel {job_id}"
    return f"{begin}; it was cancelled"


def _remove_unsubmitted(folder: Path, before: set[Path]) -> None:
    """Remove what submitit prepared for a job that SLURM then refused."""
    for path in set(folder.iterdir()) - before:
        if path.suffix in (".pkl", ".sh") and not path.is_symlink():
            path.unlink(missing_ok=True)


def _remove_links(folder: Path) -> None:
    """Remove submitit's links from the names of scripts to those of submitted ones."""
    for path in folder.glob(".submission_file_*.sh"):
        if path.is_symlink():
            path.unlink(missing_ok=True)


LONGEST_REASON = 400

_KEPT = (
    "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS", "SUBMITIT_PREEMPT_SIGNAL",
)  # fmt: skip
_OF_A_JOB = ("SLURM_", "SLURMD_", "PMI", "SUBMITIT_")
_DEFAULTS = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")


def outside_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what describes a job that this process may run in itself.

    Inside an allocation, srun would start a step of it, and sbatch hand its numbers on.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or not name.startswith(_OF_A_JOB)
    }


@contextmanager
def private_files() -> Iterator[None]:
    """Let all that is written be readable for its owner only; jobs inherit it from sbatch."""
    mask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(mask)


@contextmanager
def submitting() -> Iterator[None]:
    """Submit from a clean environment, with private files.

    Variables such as SBATCH_TIMELIMIT would silently win over the lines of a script; of what the
    script leaves open, only SBATCH_ACCOUNT and its like may decide.
    """
    before = dict(os.environ)
    clean = {
        name: value
        for name, value in outside_jobs(before).items()
        if not name.startswith("SBATCH_") or name in _DEFAULTS
    }
    try:
        os.environ.clear()
        os.environ.update(clean)
        with private_files():
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def launching(run: Path) -> Iterator[bool]:
    """Keep other launches of the run away from counting its jobs to having submitted the rest.

    Yields whether this process may go on; False while another launch is at it.
    """
    path = private_folder(run) / "launch.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        except OSError:
            is_ours = True  # without locks on this file system, two at once may submit too many
        yield is_ours
    finally:
        os.close(descriptor)


def reason(errors: str, status: int) -> str:
    """What a program complained about on one line, without its own name."""
    lines = errors.splitlines()
    wrong = [line.partition("error: ")[2] for line in lines if "error: " in line]
    told = dict.fromkeys(line.strip() for line in wrong or lines)
    text = "; ".join(line for line in told if line)
    if not text:
        return f"exit status {status}"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."
