"""What is used of submitit beyond its public names is there, and does what it is used for."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import submitit

from orchestrator.slurm.submitit_executor import PRIVATE_NAMES


@pytest.mark.parametrize(("name", "use"), PRIVATE_NAMES.items())
def test_submitit_still_has_the_private_name(name: str, use: str) -> None:
    assert hasattr(submitit.SlurmExecutor, name), (
        f"submitit {version('submitit')} no longer has SlurmExecutor.{name}: used for {use}"
    )


def test_the_number_of_a_job_is_read_from_what_sbatch_prints() -> None:
    found = submitit.SlurmExecutor._get_job_id_from_submission_command("Submitted batch job 17\n")
    assert found == "17"
