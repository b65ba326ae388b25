"""Submission through submitit: a plan that can be printed, and its execution."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from orchestrator.slurm import times
from orchestrator.slurm.command import SlurmUnavailable, ask
from orchestrator.slurm.folder import private_folder
from orchestrator.slurm.profile import Profile
from orchestrator.slurm.records import Submission, new_key, record_submission
from orchestrator.slurm.submitting import reason, submitting
from orchestrator.slurm.terms import Terms, lead_seconds

Work = Callable[[Path, Terms], None]
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

    ``mishap`` is what went wrong on our side after SLURM had taken the last one.
    """

    job_ids: tuple[str, ...]
    refusal: str | None = None
    at_limit: bool = False
    mishap: str | None = None


def plan_submission(
    run: Path, profile: Profile, profile_name: str, count: int, name: str
) -> SubmissionPlan:
    """What would be submitted; needs no SLURM and writes nothing."""
    run = run.resolve()
    text = _executor(run, profile, name).script()
    return SubmissionPlan(run, profile, profile_name, name, count, text)


def submit(plan: SubmissionPlan, terms: Terms, work: Work) -> Submitted:
    """Submit the jobs of a plan one by one, each put on record directly after its sbatch.

    Each is told ``terms`` and does ``work``. When SLURM refuses one, those before it stay: they
    share what is missing.
    """
    folder = private_folder(plan.run)
    job_ids: list[str] = []
    with submitting():
        executor = _executor(plan.run, plan.profile, plan.name)
        for _ in range(plan.count):
            before, key = set(folder.iterdir()), new_key()
            executor.last_taken()
            try:
                job = executor.submit(work, plan.run, replace(terms, key=key))
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                _remove_unsubmitted(folder, before)
                why = reason(str(error), 1)
                if taken := executor.last_taken():
                    mishap = _take_back(taken, plan.profile.clusters, why)
                    return Submitted(tuple(job_ids), mishap=mishap)
                return Submitted(tuple(job_ids), why, any(sign in str(error) for sign in LIMITS))
            job_ids.append(job.job_id)
            try:
                record_submission(plan.run, _submission(plan, job.job_id, key))
                _remove_links(folder)
            except OSError as error:
                mishap = (
                    f"job {job.job_id} was submitted and will work, but could not be put on record "
                    f"({reason(str(error), 1)})"
                )
                return Submitted(tuple(job_ids), mishap=mishap)
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


class _Executor(submitit.SlurmExecutor):
    """Submitit's executor, whose script can be read on a machine without SLURM too."""

    _taken: str | None = None

    def last_taken(self) -> str | None:
        """The number of the job that SLURM has taken since this was last asked."""
        taken, self._taken = self._taken, None
        return taken

    def _get_job_id_from_submission_command(self, string: bytes | str) -> str:  # type: ignore[override]
        taken: str = super()._get_job_id_from_submission_command(string)
        self._taken = taken
        return taken

    @classmethod
    def affinity(cls) -> int:
        """Above 0: this executor may be made, SLURM or not."""
        return 1

    def script(self) -> str:
        """The script that a submission hands to sbatch."""
        text: str = self._make_submission_file_text(self._submitit_command_str, "")
        return text


def _executor(run: Path, profile: Profile, name: str) -> _Executor:
    executor = _Executor(
        folder=run / "slurm" / "%j",
        # Without -P, Python looks for modules in the folder of the submission first.
        # And the job may be told to stop while it starts.
        python=f"{shlex.quote(profile.python or sys.executable)} -P -m orchestrator.slurm.held",
    )
    executor.update_parameters(**_parameters(profile, name))
    return executor


def _parameters(profile: Profile, name: str) -> dict[str, Any]:
    # Since SLURM 22.05 a step does not inherit the job's CPUs per task; and what a site sets for
    # WaitTime would kill a head whose workers ended first.
    srun = [
        "--ntasks-per-node=1",
        f"--cpus-per-task={profile.cpus_per_node}",
        "--export=ALL",
        "--kill-on-bad-exit=1",
        "--wait=0",
    ]
    limit = None if profile.time is None else times.minutes(profile.time)
    further: dict[str, Any] = {**profile.extra, "requeue": True}
    if profile.time is not None and limit is None:
        further["time"] = "UNLIMITED"
    if profile.reservation is not None:
        further["reservation"] = profile.reservation
    if profile.clusters is not None:
        further["clusters"] = profile.clusters
    return {
        "job_name": name,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "nodes": profile.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": profile.cpus_per_node,
        "gpus_per_node": profile.gpus_per_node or None,
        "mem": profile.memory_per_node,
        "time": limit,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "nodelist": profile.nodelist,
        "signal_delay_s": int(lead_seconds(profile.stop_seconds_before_end, profile.seconds)),
        "setup": list(profile.setup) or None,
        "wckey": None,
        "stderr_to_stdout": True,
        "srun_args": srun,
        "additional_parameters": further,
    }


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
