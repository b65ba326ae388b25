"""Submitting jobs for a run directory, and saying which: what ``launch`` and ``resume`` share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.execution import work
from orchestrator.cli.output import command, print_json, stderr
from orchestrator.ledger import Ledger
from orchestrator.plan import ColumnProgress
from orchestrator.slurm.command import SlurmUnavailable
from orchestrator.slurm.folder import refuse_odd_path, refuse_shared
from orchestrator.slurm.naming import job_name
from orchestrator.slurm.preflight import preflight
from orchestrator.slurm.profile import Profile
from orchestrator.slurm.submitting import launching
from orchestrator.slurm.terms import Terms
from orchestrator.sweep import Sweep

Cluster = Annotated[
    Path | None,
    typer.Option("--cluster", help="The cluster profile (YAML).", show_default=False),
]
Jobs = Annotated[
    int, typer.Option("--jobs", min=1, help="SLURM jobs that are to be at work on the run.")
]
PreflightWait = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="For free nodes to check before anything is submitted; 0 leaves it to the jobs.",
    ),
]


def submit_jobs(
    run: Path,
    sweep: Sweep,
    profile: Profile,
    profile_name: str,
    terms: Terms,
    jobs: int,
    wait: int,
    json: bool,
) -> None:
    """Submit as many jobs as are missing to ``jobs``, each on these terms, after a check of the
    nodes.

    Raises:
        UserError: the nodes are not fit, or SLURM takes no job or gives no answer; nothing was
            submitted.
    """
    # submitit is only needed here, and takes a while to import.
    from orchestrator.slurm.submit import (
        Submitted,
        live_jobs,
        plan_submission,
        submit,
    )

    refuse_odd_path(run)
    refuse_shared(run)
    if _nothing_to_do(run, sweep):
        if json:
            print_json({"run": str(run), "name": None, "submitted": (), "live": ()})
        else:
            print(f"nothing was submitted, for nothing is missing in {shlex.quote(str(run))}")
        return
    name = job_name(run, sweep.name)
    with launching(run) as is_ours:
        if not is_ours:
            raise UserError(f"another eos launch is submitting jobs for {run} just now")
        try:
            live = live_jobs(name, profile.clusters)
        except SlurmUnavailable as error:
            raise UserError(
                f"nothing was submitted, for SLURM gave no answer: {error.reason}"
            ) from None
        missing = max(0, jobs - len(live))
        done = Submitted(())
        if missing:
            _check_nodes(run, profile, wait)
            done = submit(plan_submission(run, profile, profile_name, missing, name), terms, work)
    if done.refusal is not None and not done.job_ids:
        raise UserError(f"no job was submitted: sbatch says {done.refusal!r}")
    _say(run, name, live, done.job_ids, json)
    if done.refusal is not None:
        stderr.print(
            f"warning: {len(done.job_ids)} of {missing} jobs were submitted, then sbatch said "
            f"{done.refusal!r}; the jobs that there are do all the work, and the same command "
            "adds the others when there is room",
            style="yellow",
            markup=False,
            highlight=False,
        )
        if not done.at_limit:
            raise typer.Exit(2)


def _nothing_to_do(run: Path, sweep: Sweep) -> bool:
    """Whether a job would find nothing to start."""
    ledger = Ledger(run)
    return all(
        ColumnProgress(column, ledger.settled, ledger.failed).complete for column in sweep.columns
    )


def _check_nodes(run: Path, profile: Profile, wait: int) -> None:
    if wait:
        stderr.print(f"checking the nodes (at most {wait} s until some are free)", highlight=False)
    found = preflight(run, profile, wait)
    if found.problems:
        raise UserError(
            "\n".join(["the nodes are not fit, and nothing was submitted", *found.problems])
        )
    if found.unasked is not None:
        stderr.print(
            f"the nodes were not checked ({found.unasked}); each job checks its own before any "
            "trial",
            markup=False,
            highlight=False,
        )


def _say(
    run: Path, name: str, live: tuple[str, ...], submitted: tuple[str, ...], json: bool
) -> None:
    if json:
        print_json({"run": str(run), "name": name, "submitted": submitted, "live": live})
        return
    if live:
        print(f"in the queue already: {', '.join(live)}")
    if submitted:
        print(f"submitted: {', '.join(submitted)}")
        print(f"logs: {shlex.quote(str(run / 'slurm'))}/JOB/JOB_0_log.out")
    else:
        print("nothing was submitted: there are as many jobs as asked for")
    named = shlex.quote(str(run))
    print(f"next: {command()} status {named}\n      {command()} cancel {named}")
