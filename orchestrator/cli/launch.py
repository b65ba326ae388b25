"""``eos launch``: the same as ``eos run``, by SLURM jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.output import stderr
from orchestrator.cli.run import Config, Json, Log, Overrides, RunOption, load_checked, logging_to
from orchestrator.cli.submission import Jobs, PreflightWait, submit_jobs
from orchestrator.engine import prepare, refuse_unfit, refuse_unfit_directory
from orchestrator.slurm.folder import refuse_odd_path, refuse_shared
from orchestrator.slurm.naming import job_name
from orchestrator.slurm.preflight import WAIT_SECONDS
from orchestrator.slurm.profile import load_profile


def launch(
    config: Config,
    cluster: Annotated[
        Path, typer.Option("--cluster", help="The cluster profile (YAML).", show_default=False)
    ],
    overrides: Overrides = None,
    run_dir: RunOption = None,
    jobs: Jobs = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the sbatch script; submit and write nothing.")
    ] = False,
    preflight_wait: PreflightWait = WAIT_SECONDS,
    log: Log = None,
    json: Json = False,
) -> None:
    """Submit SLURM jobs that share the trials of a sweep.

    The command returns at once. Jobs at work on this run count among --jobs, and take in what is
    new: launching twice adds none.

    Example: eos launch configs/quickstart.yaml --cluster configs/clusters/loopback.yaml --jobs 2
    """
    profile = load_profile(cluster)
    terms = logging_to(log, profile.terms)
    sweep = load_checked(config, overrides)
    refuse_unfit(sweep.columns, profile.allocation)
    run = run_dir or Path("runs") / sweep.name
    refuse_unfit_directory(run, sweep)
    refuse_odd_path(run)
    refuse_shared(run)
    if dry_run:
        from orchestrator.slurm.submit import plan_submission

        plan = plan_submission(run, profile, cluster.stem, jobs, job_name(run, sweep.name))
        print(plan.text, end="")
        stderr.print(f"jobs like this at work: {jobs}; nothing was submitted", highlight=False)
        return
    sweep = prepare(run, sweep)
    submit_jobs(run, sweep, profile, cluster.stem, terms, jobs, preflight_wait, json)


COMMANDS = {"launch": launch}
