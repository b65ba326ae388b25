"""The first thing that the command ``eos`` does: in a SLURM job, signals wait for the run."""

from __future__ import annotations

import gc
import os
import sys

RUNS = {"quickstart", "run", "resume"}


def collect_seldom() -> None:
    """Let Python look for cycles of garbage once in 10,000 new objects instead of 700.

    A large sweep is a million objects that stay: looking through them took a tenth of the time.
    """
    gc.set_threshold(10_000, 20, 50)


def main() -> None:
    """Run the command line."""
    collect_seldom()
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if "SLURM_JOB_ID" in os.environ and words and words[0] in RUNS:
        # Before the imports, which take seconds in which a job may be told to stop.
        from orchestrator.signals import hold

        hold()
    from orchestrator.cli import main as command_line

    command_line()
