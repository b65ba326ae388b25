"""Running a sweep where this process is: on a machine, or on a node of a SLURM job."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.cli.errors import (
    INTERRUPTED,
    PLAIN,
    SETTLED,
    SOME_FAILED,
    RunHaltedError,
    UserError,
    exit_status,
    sentence,
)
from orchestrator.cli.output import note, stderr, warn
from orchestrator.cli.progress import Progress
from orchestrator.cli.results import print_end, print_summary
from orchestrator.cluster import Allocation, end_process, here, serve
from orchestrator.cluster.rendezvous import default_root
from orchestrator.engine import (
    GrowingSweep,
    RunOutcome,
    Sink,
    check_directory,
    columns_that_fit,
    execute,
    prepare,
    refuse_missing,
    refuse_too_large,
)
from orchestrator.engine.probing import Probing
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.job import Job
from orchestrator.slurm.node_check import check_node, gpu_problems
from orchestrator.slurm.profile import JobSettings
from orchestrator.slurm.records import has_jobs
from orchestrator.store import create
from orchestrator.sweep import Column, Sweep


def carry_out(
    run: Path,
    sweep: Sweep | None = None,
    settings: JobSettings | None = None,
    *,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Compute what is missing of a sweep with all that this process's job or machine offers.

    Without a ``sweep``, that is all that the run directory stands for, and what others add to it
    meanwhile; in a job, columns that do not fit its nodes are then left to other jobs.

    On the first node of a job, or on a machine that is no part of one, it leads the run; on the
    other nodes it lends what they have. ``debug`` lets Ray and Tune speak too. Returns the exit
    status: 0 all settled, 3 some trials failed, 130 interrupted.

    Raises:
        SweepError: the sweep does not fit the machines or the run directory.
        MissingPackageError: what it is to be logged to has no package here.
        RunHaltedError: the run cannot go on until something is put right.
        ClusterError: not all nodes of the job could be had.
    """
    settings = settings or JobSettings()
    allocation = replace(here(), submission=settings.key or "")
    if allocation.hint:
        warn(allocation.hint)
    if not allocation.leads:
        return _lend(run, allocation, settings)
    log = tuple(Sink(name) for name in settings.log)
    refuse_missing(log)
    if sweep is None:
        _refuse_all_unfit(sweep_of(run), allocation)
        create(run)
    else:
        refuse_too_large(sweep.columns, allocation)
        prepare(run, sweep)
    if allocation.job_id is None:
        columns = (sweep or sweep_of(run)).columns
        _refuse_unfit_gpus(columns)
        outcome, _ = _lead(run, sweep, None, allocation, log, debug=debug)
        where = " --here" if has_jobs(run) else ""
        print_summary(run, sweep or sweep_of(run), outcome, json=json, where=where)
        return status_of(outcome)
    job = Job(run, allocation, settings, warn)
    job.begin()
    try:
        if problems := _problems(run, settings):
            raise UserError(f"this node cannot run trials: {'; '.join(problems)}")
        outcome, left = _lead(run, sweep, job, allocation, log, debug=debug)
        print_end(run, outcome)
    except BaseException as error:
        job.fail(error)
        raise
    end = job.end(outcome, left)
    why = "" if outcome.stop is None else f" ({outcome.stop.detail})"
    note(f"job {allocation.job_id} ends: {end}{why}")
    return SETTLED if end in ("idle", "budget") else status_of(outcome)


def try_rates(run: Path, sweep: Sweep, probing: Probing, *, debug: bool = False) -> RunOutcome:
    """Compute what probing asks for, on this machine, beside the run directory of the sweep itself.

    Raises:
        SweepError: the sweep does not fit the machine or the run directory.
    """
    check_directory(run, sweep)
    refuse_too_large(probing.columns, here())
    _refuse_unfit_gpus(probing.columns)
    prepare(probing.run, probing.sweep)
    with Progress(sweep.name) as progress:
        return execute(
            probing.run,
            sweep.name,
            probing.grown() or (),
            grown=probing.grown,
            observe=progress.show,
            warn=warn,
            quiet=not debug,
        )


def work(run: Path, settings: JobSettings) -> None:
    """What every node of a submitted job does; SLURM learns how it went from the exit status."""
    try:
        status = carry_out(run, settings=settings)
    except PLAIN as error:  # submitit would print where it was raised, and end with 1
        stderr.print(f"eos: {sentence(error)}", style="red", markup=False, highlight=False)
        status = exit_status(error)
    sys.stdout.flush()
    if status:
        end_process(status)


def _refuse_all_unfit(sweep: Sweep, allocation: Allocation) -> None:
    """Make sure that the machines can carry the sweep; of a job's, that they can carry some of it.

    Raises:
        SweepError: they cannot.
    """
    if allocation.job_id is None or not columns_that_fit(sweep.columns, allocation)[0]:
        refuse_too_large(sweep.columns, allocation)


def _refuse_unfit_gpus(columns: Sequence[Column]) -> None:
    """Make sure that the GPUs of this machine can run trials of columns.

    Raises:
        UserError: they cannot.
    """
    if problems := gpu_problems(columns, None):
        raise UserError(f"this machine cannot run trials: {'; '.join(problems)}")


def _lead(
    run: Path,
    sweep: Sweep | None,
    job: Job | None,
    allocation: Allocation,
    log: Sequence[Sink],
    *,
    debug: bool,
) -> tuple[RunOutcome, str]:
    """How the run ended, and why some of it was left to others."""
    name = sweep_of(run).name
    with Progress(name) as progress:
        growing = GrowingSweep(run, allocation, warn) if sweep is None else None
        outcome = execute(
            run,
            name,
            sweep.columns if sweep is not None else (growing and growing.read()) or (),
            grown=(lambda: None) if growing is None else growing.read,
            observe=progress.show,
            warn=warn,
            quiet=not debug,
            environment=None if job is None else job.environment(),
            log=log,
        )
    return outcome, "" if growing is None else "; ".join(growing.reasons)


def _lend(run: Path, allocation: Allocation, settings: JobSettings) -> int:
    def check(versions: Mapping[str, str]) -> list[str]:
        return _problems(run, settings, versions)

    status, what = serve(
        allocation, run, root=settings.root, interface=settings.interface, check=check, warn=warn
    )
    name = allocation.nodes[allocation.node_id]
    note(f"node {name}: {what}")
    return status


def _problems(
    run: Path, settings: JobSettings, versions: Mapping[str, str] | None = None
) -> list[str]:
    """What keeps this node of a job from running trials."""
    return check_node(run, str(settings.root or default_root()), settings.interface, versions)


def status_of(outcome: RunOutcome) -> int:
    """The exit status of a run that has ended.

    Raises:
        RunHaltedError: it cannot go on until something is put right.
    """
    if outcome.halted:
        raise RunHaltedError(outcome.halted)
    if outcome.interrupted:
        return INTERRUPTED
    return SETTLED if outcome.settled else SOME_FAILED
