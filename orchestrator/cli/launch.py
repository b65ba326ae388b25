"""``eos launch`` and ``eos cancel``: the SLURM jobs that work on a run."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import BAD_INPUT, SETTLED, SOME_FAILED, UserError
from orchestrator.cli.execution import work
from orchestrator.cli.options import (
    Config,
    Jobs,
    Json,
    Log,
    Overrides,
    PreflightWait,
    RunArgument,
    RunOption,
    default_run,
    load_checked,
    logging_to,
)
from orchestrator.cli.output import command, note, print_json, warn
from orchestrator.cluster import Allocation
from orchestrator.engine import check_directory, columns_that_fit, prepare, refuse_too_large
from orchestrator.ledger import Ledger
from orchestrator.plan import RunState
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.budget import Budget
from orchestrator.slurm.command import SlurmUnavailable
from orchestrator.slurm.job_states import at_work
from orchestrator.slurm.preflight import WAIT_SECONDS, preflight
from orchestrator.slurm.profile import JobSettings, Profile, load_profile
from orchestrator.slurm.queue import QueuedJob, job_name, read_queue
from orchestrator.slurm.records import Submission, read_jobs, refuse_odd_path, refuse_shared
from orchestrator.slurm.run_jobs import cancel_jobs
from orchestrator.slurm.submission import Submitted, launching, plan_submission, submit
from orchestrator.sweep import Column, Sweep
from orchestrator.sweep.labels import column_labels

MOST_BLOCKED_SHOWN = 5


def launch(
    config: Config,
    cluster: Annotated[
        Path, typer.Option("--cluster", help="The cluster profile (YAML).", show_default=False)
    ],
    overrides: Overrides = None,
    run_dir: RunOption = None,
    jobs: Jobs = 1,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="HOURS",
            help="End the jobs, saved, when the run's jobs have used so many GPU hours (CPU-core "
            "hours without GPUs) from now on.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the sbatch script; submit and write nothing.")
    ] = False,
    preflight_wait: PreflightWait = WAIT_SECONDS,
    log: Log = None,
    json: Json = False,
) -> None:
    """Submit SLURM jobs that share the trials of a sweep.

    The command returns at once. Active jobs of this run count among --jobs, and compute what is
    new: launching twice adds none. They keep the budget with which they were submitted.

    Example: eos launch configs/quickstart.yaml --cluster configs/clusters/loopback.yaml --jobs 2
    """
    profile = load_profile(cluster)
    settings = logging_to(log, profile.job_settings)
    if budget is not None:
        if not 0 < budget < math.inf:
            raise UserError(f"--budget is {budget:g}; it must be a number of hours above 0")
        settings = replace(
            settings, budget=Budget(budget, time.time(), gpus=profile.gpus_per_node > 0)
        )
    sweep = load_checked(config, overrides)
    refuse_too_large(sweep.columns, profile.allocation)
    run = run_dir or default_run(sweep)
    check_directory(run, sweep)
    refuse_odd_path(run)
    refuse_shared(run)
    if dry_run:
        plan = plan_submission(run, profile, cluster.stem, jobs, job_name(run, sweep.name))
        print(plan.text, end="")
        note(f"number of such jobs: {jobs}; nothing was submitted")
        return
    sweep = prepare(run, sweep)
    submit_jobs(run, sweep, profile, cluster.stem, settings, jobs, preflight_wait, json)


def cancel(
    run: RunArgument,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB …]", help="Only these of its jobs.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Cancel the SLURM jobs of a run, or some of them.

    Without JOB, cancels all that may still run. Other jobs are not touched.

    Example: eos cancel runs/quickstart
    """
    done = cancel_jobs(run, sweep_of(run).name, jobs or ())
    if done.strangers:
        raise UserError(
            f"JOB is {done.strangers[0]!r}; it must be a job of {run}, which eos status "
            f"{shlex.quote(str(run))} lists"
        )
    if json:
        print_json(asdict(done))
        return
    for job in done.cancelled:
        print(f"cancelled: job {job.job_id} ({job.state})")
    for job_id in done.over:
        print(f"job {job_id} is not in SLURM's queue: nothing to cancel")
    if not done.cancelled and not done.over:
        print(done.silence or "no job of this run is in SLURM's queue")


COMMANDS = {"launch": launch, "cancel": cancel}


def submit_jobs(
    run: Path,
    sweep: Sweep,
    profile: Profile,
    profile_name: str,
    settings: JobSettings,
    jobs: int,
    wait: int,
    json: bool,
) -> None:
    """Submit as many jobs as are missing to ``jobs``, each on these settings, after a check of the
    nodes. Jobs count that take all of what is missing that fits the profile.

    Raises:
        Exit: nothing is missing, or only what has failed; nothing was submitted.
        SweepError: nothing of what is missing fits the profile.
        UserError: the nodes are not fit, or SLURM takes no job or gives no answer; nothing was
            submitted.
    """
    refuse_odd_path(run)
    refuse_shared(run)
    missing = _missing(run, sweep, profile, json)
    name = job_name(run, sweep.name)
    with launching(run) as is_ours:
        if not is_ours:
            raise UserError(f"another eos launch is submitting jobs for {run} just now")
        try:
            # The sweep file was written before this, and the records are read after it: a job that
            # says in them that it ends is not counted, and any other looks at the sweep once more.
            queue = read_queue(profile.clusters)
        except SlurmUnavailable as error:
            raise UserError(
                f"nothing was submitted: SLURM gave no answer: {error.reason}"
            ) from None
        live, others = _at_work(run, queue, name, missing)
        wanted = max(0, jobs - len(live))
        done = Submitted(())
        if wanted:
            _check_nodes(run, profile, wait)
            done = submit(plan_submission(run, profile, profile_name, wanted, name), settings, work)
    if not done.job_ids and (done.refusal or done.problem):
        raise UserError(done.problem or f"no job was submitted: sbatch says {done.refusal!r}")
    _say(run, name, live, others, done.job_ids, json)
    if done.problem is not None:
        warn(
            f"{len(done.job_ids)} of {wanted} jobs were submitted: {done.problem}; make room, and "
            "the same command adds the others"
        )
        raise typer.Exit(BAD_INPUT)
    if done.refusal is not None:
        warn(
            f"{len(done.job_ids)} of {wanted} jobs were submitted, then sbatch said "
            f"{done.refusal!r}; the submitted jobs compute everything, and the same command adds "
            "the others when there is room"
        )
        if not done.at_limit:
            raise typer.Exit(BAD_INPUT)


def _missing(run: Path, sweep: Sweep, profile: Profile, json: bool) -> tuple[Column, ...]:
    """The columns of a run directory that a job of the profile would find something to do in.

    Raises:
        SweepError: there are some, but none fits the profile.
        Exit: there are none, which was said.
    """
    state = Ledger(run).read(sweep.columns)
    left = [sweep.columns[i] for i in (~state.complete).nonzero()[0]]
    if not left:
        raise typer.Exit(_say_nothing_to_do(run, state, json))
    fit, reasons = columns_that_fit(left, profile.allocation)
    if not fit:
        refuse_too_large(left, profile.allocation)
    if reasons:
        warn(
            f"{len(left) - len(fit)} columns do not fit the nodes of these jobs, and are left to "
            f"jobs of another profile: {reasons[0]}"
        )
    return fit


def _say_nothing_to_do(run: Path, state: RunState, json: bool) -> int:
    """Say why no job is needed; the exit status."""
    trials = state.total
    status = SOME_FAILED if trials.unfinished else SETTLED
    if json:
        print_json(
            {"run": str(run), "name": None, "submitted": (), "live": (), "failed": trials.failed}
        )
        return status
    named = shlex.quote(str(run))
    if not status:
        print(f"nothing was submitted: nothing is missing in {named}")
        return status
    print(
        f"nothing was submitted: what is missing in {named} has failed ({trials.failed} trials) or "
        f"is blocked by that ({trials.blocked} trials)"
    )
    labels = column_labels(state.columns)
    for column in islice(state.blocked_columns(), MOST_BLOCKED_SHOWN):
        print(f"column {labels[column.column_id]}: {column.blocked}")
    retry = command("resume", run, "--failed", more=" --cluster FILE")
    print(
        f"see why, and give failed trials another chance, with\n  {command('why', run)}\n  {retry}"
    )
    return status


def _at_work(
    run: Path, queue: Sequence[QueuedJob], name: str, missing: Sequence[Column]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The jobs that take all that is missing; and why others of the queue do not count."""
    records = read_jobs(run)
    works, ends = at_work(records, queue, name)
    others = {job.job_id: "it ends" for job in ends}
    for job in works:
        record = records.get(job.job_id)
        submission = None if record is None else record.submission
        if submission is not None and not _carries(submission, missing):
            others[job.job_id] = "its nodes are too small for some of what is missing"
    return tuple(job.job_id for job in works if job.job_id not in others), others


def _carries(submission: Submission, missing: Sequence[Column]) -> bool:
    """Whether a submitted job has room for trials of all these columns, as far as is known."""
    if not submission.nodes:
        return True
    nodes = tuple(map(str, range(submission.nodes)))
    granted = Allocation(nodes, 0, submission.cpus, submission.gpus, None)
    return not columns_that_fit(missing, granted)[1]


def _check_nodes(run: Path, profile: Profile, wait: int) -> None:
    if wait:
        note(f"checking the nodes (at most {wait} s until some are free)")
    found = preflight(run, profile, wait)
    for warning in found.warnings:
        warn(warning)
    if found.problems:
        raise UserError(
            "\n".join(["the nodes are not fit, and nothing was submitted", *found.problems])
        )
    if found.unasked is not None:
        note(
            f"the nodes were not checked ({found.unasked}); each job checks its own before any "
            "trial"
        )


def _say(
    run: Path,
    name: str,
    live: Sequence[str],
    others: Mapping[str, str],
    submitted: Sequence[str],
    json: bool,
) -> None:
    if json:
        content = {"run": str(run), "name": name, "submitted": submitted, "live": live}
        print_json({**content, "not_counted": others})
        return
    for job_id, why in others.items():
        print(f"in the queue, but not counted: {job_id}, because {why}")
    if live:
        print(f"in the queue already: {', '.join(live)}")
    if submitted:
        print(f"submitted: {', '.join(submitted)}")
        print(f"logs: {shlex.quote(str(run / 'slurm'))}/JOB/JOB_0_log.out")
    else:
        print("nothing was submitted: enough jobs are active, and they compute all that is missing")
    print(f"next: {command('status', run)}\n      {command('cancel', run)}")
