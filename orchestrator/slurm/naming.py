"""What the jobs of a run are called, so that SLURM's own lists can be searched for them."""

from __future__ import annotations

import hashlib
from pathlib import Path


def job_name(run: Path, sweep_name: str) -> str:
    """``eos-SWEEP-HASH``: for people the name of the sweep, for us the run directory's own hash.

    The hash is of the resolved path, so that runs of one sweep in two directories differ.
    """
    path = str(run.resolve()).encode("utf-8", "surrogateescape")
    return f"eos-{sweep_name}-{hashlib.sha256(path).hexdigest()[:8]}"
