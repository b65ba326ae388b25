"""Running a sweep where this process is: on a machine, or on a node of a SLURM job."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
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
from orchestrator.cli.output import stderr
from orchestrator.cli.progress import Progress
from orchestrator.cli.summary import print_end, print_summary
from orchestrator.cluster import Allocation, end_process, here, serve
from orchestrator.cluster.folder import usual_root
from orchestrator.engine import (
    RunOutcome,
    Sink,
    execute,
    prepare,
    refuse_missing,
    refuse_unfit,
)
from orchestrator.ledger.status import sweep_of
from orchestrator.slurm.job import Job
from orchestrator.slurm.node_check import check_node, gpu_problems
from orchestrator.slurm.terms import Terms
from orchestrator.sweep import Sweep


def carry_out(
    run: Path,
    sweep: Sweep,
    terms: Terms | None = None,
    *,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Compute what is missing of a sweep with all that this process's job or machine offers.

    On the first node of a job, or on a machine that is no part of one, it leads the run; on the
    other nodes it lends what they have. ``debug`` lets Ray and Tune speak too. Returns the exit
    status: 0 all settled, 3 some trials failed, 130 interrupted.

    Raises:
        SweepError: the sweep does not fit the machines or the run directory.
        MissingPackageError: what it is to be logged to has no package here.
        RunHaltedError: the run cannot go on until something is put right.
        ClusterError: not all nodes of the job could be had.
    """
    terms, allocation = terms or Terms(), here()
    if allocation.hint:
        stderr.print(f"warning: {allocation.hint}", style="yellow", highlight=False)
    if not allocation.leads:
        return _lend(run, allocation, terms)
    log = tuple(Sink(name) for name in terms.log)
    refuse_missing(log)
    refuse_unfit(sweep.columns, allocation)
    prepare(run, sweep)
    if allocation.job_id is None:
        if problems := gpu_problems(sweep.columns, None):
            raise UserError(f"this machine cannot run trials: {'; '.join(problems)}")
        outcome = _lead(run, sweep, None, log, debug=debug)
        print_summary(run, sweep, outcome, json=json)
        return _status(outcome)
    job = Job(run, allocation, terms, _warn)
    job.begin()
    try:
        if problems := _problems(run, terms):
            raise UserError(f"this node cannot run trials: {'; '.join(problems)}")
        outcome = _lead(run, sweep, job, log, debug=debug)
        print_end(run, outcome)
    except BaseException as error:
        job.fail(error)
        raise
    end = job.end(outcome)
    stderr.print(f"job {allocation.job_id} ends: {end}", highlight=False)
    return SETTLED if end == "idle" else _status(outcome)


def work(run: Path, terms: Terms) -> None:
    """What every node of a submitted job does; SLURM learns how it went from the exit status."""
    try:
        status = carry_out(run, sweep_of(run), terms)
    except PLAIN as error:  # submitit would print where it was raised, and end with 1
        stderr.print(f"eos: {sentence(error)}", style="red", markup=False, highlight=False)
        status = exit_status(error)
    sys.stdout.flush()
    if status:
        end_process(status)


def _lead(
    run: Path, sweep: Sweep, job: Job | None, log: Sequence[Sink], *, debug: bool
) -> RunOutcome:
    with Progress(sweep.name) as progress:
        return execute(
            run,
            sweep.name,
            sweep.columns,
            observe=progress.show,
            warn=progress.warn,
            quiet=not debug,
            site=None if job is None else job.site(),
            log=log,
        )


def _lend(run: Path, allocation: Allocation, terms: Terms) -> int:
    def check(versions: Mapping[str, str]) -> list[str]:
        return _problems(run, terms, versions)

    status, what = serve(
        allocation, run, root=terms.root, interface=terms.interface, check=check, warn=_warn
    )
    name = allocation.nodes[allocation.node_id]
    stderr.print(f"node {name}: {what}", highlight=False)
    return status


def _problems(run: Path, terms: Terms, versions: Mapping[str, str] | None = None) -> list[str]:
    """What keeps this node of a job from running trials."""
    return check_node(run, str(terms.root or usual_root()), terms.interface, versions)


def _status(outcome: RunOutcome) -> int:
    if outcome.halted:
        raise RunHaltedError(outcome.halted)
    if outcome.interrupted:
        return INTERRUPTED
    return SETTLED if outcome.settled else SOME_FAILED


def _warn(message: str) -> None:
    stderr.print(f"warning: {message}", style="yellow", markup=False, highlight=False)
