"""The programs that a private SLURM is made of, and what this host lacks of them."""

from __future__ import annotations

import os
import shutil

SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin"))
"""The daemons lie where only root's PATH may look."""

SLURM = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
ACCOUNTING = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db")


def program(name: str) -> str:
    """The path of a program, or its bare name where it is missing."""
    return shutil.which(name, path=SEARCH) or name


def missing(accounting: bool = False) -> str | None:
    """Why no private SLURM can run here, as one sentence; None if one can."""
    absent = [
        name
        for name in SLURM + (ACCOUNTING if accounting else ())
        if shutil.which(name, path=SEARCH) is None
    ]
    if absent:
        packages = "slurm-wlm munge" + (" slurmdbd mariadb-server" if accounting else "")
        return (
            f"{', '.join(absent)}: not on this host; "
            f"on Debian and Ubuntu, apt-get install {packages} brings them"
        )
    if os.geteuid() != 0:
        return (
            f"user id {os.geteuid()}: a SLURM that runs jobs as their users needs root; "
            "try again with sudo"
        )
    return None
