"""Submitit's executor for our jobs: the one place that uses private names of submitit.

A later submitit may rename them; the test of this module says which is gone.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from orchestrator.slurm.profile import Profile, lead_seconds

SubmissionErrors = (FailedJobError, FailedSubmissionError, OSError)
"""What submitting raises where SLURM takes no job, or the files of one cannot be written."""

PRIVATE_NAMES = {
    "_get_job_id_from_submission_command": "the number of a job whose files could not be written",
    "_make_submission_file_text": "the script, which --dry-run prints",
    "_submitit_command_str": "the command in that script",
}
"""What is used of ``submitit.SlurmExecutor`` beyond its public names, and for what."""


class JobExecutor(submitit.SlurmExecutor):
    """Submits jobs of a run on a profile; its script can be read on a machine without SLURM too."""

    def __init__(self, run: Path, profile: Profile, name: str) -> None:
        # Without -P, Python looks for modules in the folder of the submission first.
        # And the job may be told to stop while it starts.
        python = f"{shlex.quote(profile.python or sys.executable)} -P -m orchestrator.signals"
        super().__init__(folder=run / "slurm" / "%j", python=python)
        self.update_parameters(**_parameters(profile, name))
        self._taken: str | None = None

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
    further: dict[str, Any] = {**profile.extra, "requeue": True}
    if profile.time is not None and profile.minutes is None:
        further["time"] = "UNLIMITED"
    for key in ("reservation", "clusters"):
        if (value := getattr(profile, key)) is not None:
            further[key] = value
    same = ("partition", "account", "qos", "nodes", "constraint", "exclude", "nodelist")
    return {
        **{key: getattr(profile, key) for key in same},
        "job_name": name,
        "ntasks_per_node": 1,
        "cpus_per_task": profile.cpus_per_node,
        "gpus_per_node": profile.gpus_per_node or None,
        "mem": profile.memory_per_node,
        "time": profile.minutes,
        "signal_delay_s": int(lead_seconds(profile.stop_seconds_before_end, profile.seconds)),
        "setup": list(profile.setup) or None,
        "wckey": None,
        "stderr_to_stdout": True,
        "srun_args": srun,
        "additional_parameters": further,
    }
