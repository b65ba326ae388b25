"""SLURM's programs on this machine, and their version."""

from __future__ import annotations

import shutil

from orchestrator.slurm.command import ask

NEEDED = ("sbatch", "srun", "squeue", "scancel", "scontrol")
USEFUL = ("sacct",)


def missing_programs() -> tuple[str, ...]:
    """Those that launching and watching need and that are not on PATH."""
    return tuple(name for name in NEEDED if shutil.which(name) is None)


def slurm_version() -> str:
    """What sbatch says of itself, such as ``slurm-wlm 22.05.8``.

    Raises:
        SlurmUnavailable: it is missing, or finds no configuration.
    """
    return ask("sbatch", ["--version"]).strip()
