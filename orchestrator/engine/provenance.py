"""Which code computes, and in which job."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from pathlib import Path

from orchestrator.engine.work import Provenance

SOURCE = Path(__file__).resolve().parents[2]
GIT_SECONDS = 10


def provenance(sweep: str) -> Provenance:
    """The version and commit of this package, and the SLURM job that it runs in, if any."""
    commit = _git("rev-parse", "HEAD") if (SOURCE / ".git").exists() else None
    changes = None if commit is None else _git("status", "--porcelain", "--untracked-files=no")
    restarts = os.environ.get("SLURM_RESTART_COUNT")
    return Provenance(
        sweep=sweep,
        version=importlib.metadata.version("eos-sweep"),
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        slurm_job_id=os.environ.get("SLURM_JOB_ID"),
        restart_count=int(restarts) if restarts and restarts.isdigit() else None,
    )


def _git(*arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(SOURCE), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()
