"""``eos run`` and ``eos resume``: from a sweep file to its tables."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.execution import carry_out
from orchestrator.cli.launch import submit_jobs
from orchestrator.cli.options import (
    Cluster,
    Config,
    Jobs,
    Json,
    Log,
    Overrides,
    PreflightWait,
    RunArgument,
    RunOption,
    checked,
    default_run,
    load_checked,
    logging_to,
)
from orchestrator.cli.output import note
from orchestrator.cluster import here as allocation
from orchestrator.ledger import Ledger, rearm
from orchestrator.ledger.status import describe_trials
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.preflight import WAIT_SECONDS
from orchestrator.slurm.profile import load_profile
from orchestrator.slurm.records import has_jobs
from orchestrator.store import select_rows


def run(
    context: typer.Context,
    config: Config,
    overrides: Overrides = None,
    run_dir: RunOption = None,
    cluster: Cluster = None,
    log: Log = None,
    json: Json = False,
) -> None:
    """Run all trials of a sweep that have no result yet.

    Run it again to resume it. In a SLURM job, --cluster names the profile with the network
    interface and temp root of the nodes, and with how the job ends.

    Example: eos run configs/quickstart.yaml
    """
    settings = logging_to(log, None if cluster is None else load_profile(cluster).job_settings)
    sweep = load_checked(config, overrides)
    directory = run_dir or default_run(sweep)
    raise typer.Exit(carry_out(directory, sweep, settings, json=json, debug=bool(context.obj)))


def resume(
    context: typer.Context,
    run: RunArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Retry failed trials, too.")] = False,
    where: Annotated[
        str | None,
        typer.Option(
            help="Retry only the failed trials for which this SQL condition holds.", metavar="SQL"
        ),
    ] = None,
    cluster: Cluster = None,
    jobs: Jobs = 1,
    preflight_wait: PreflightWait = WAIT_SECONDS,
    here: Annotated[
        bool,
        typer.Option("--here", help="Compute on this machine, although SLURM jobs did before."),
    ] = False,
    log: Log = None,
    json: Json = False,
) -> None:
    """Run what is missing in a run directory.

    With --failed, failed trials are retried, too. With --cluster, SLURM jobs compute it, as after
    eos launch. Where jobs have worked on it before, --cluster or --here is needed, except within a
    job.

    Example: eos resume runs/quickstart --failed --where "width = 64"
    """
    if cluster is None and jobs != 1:
        raise UserError(f"--jobs is {jobs}; it must come with --cluster FILE")
    if cluster is not None and here:
        raise UserError("--here is given with --cluster; it must be one of them")
    if cluster is None and not here and allocation().job_id is None and has_jobs(run):
        raise UserError(
            f"RUN is {str(run)!r}, on which SLURM jobs have worked; eos resume must have --cluster "
            "FILE to go on with jobs, or --here to compute on this machine"
        )
    profile = None if cluster is None else load_profile(cluster)
    settings = logging_to(log, None if profile is None else profile.job_settings)
    sweep = checked(sweep_of(run))
    if failed or where is not None:
        ledger = Ledger(run)
        rows = describe_trials(ledger.store, ledger.read(sweep.columns).failures())
        chosen = rows if where is None else select_rows(rows, where)
        for row in chosen:
            rearm(run, row["trial_id"], row["attempt"])
        note(f"re-armed {len(chosen)} of {len(rows)} failed trials")
    if cluster is None or profile is None:
        raise typer.Exit(carry_out(run, settings=settings, json=json, debug=bool(context.obj)))
    submit_jobs(run, sweep, profile, cluster.stem, settings, jobs, preflight_wait, json)


COMMANDS = {"run": run, "resume": resume}
