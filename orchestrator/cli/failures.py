"""``eos why`` and ``eos logs``: what went wrong with trials and SLURM jobs, and their logs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.options import Json, RunArgument
from orchestrator.cli.output import command, plain, print_json, print_table, shown
from orchestrator.cli.status import FOLDED, WIDEST
from orchestrator.first_line import first_line
from orchestrator.ledger import Ledger, Row
from orchestrator.ledger.status import describe_trials
from orchestrator.logs import read_log
from orchestrator.plan import RunState
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.job_ends import JobEnd, end_of_attempt
from orchestrator.slurm.records import has_jobs, read_jobs
from orchestrator.slurm.run_jobs import job_ends_of, output_files

FAILURE_COLUMNS = (
    *("trial_id", "kind", "eta", "failure_class", "attempt", "hostname", "slurm_job_id", "error"),
)
END_COLUMNS = {
    "job": "slurm_job_id",
    "start": "restart_count",
    "ended": "outcome",
    "failure_class": "failure_class",
    "by": "source",
    "nodes": "hostname",
    "evidence": "error",
}
"""The columns of a table of jobs, and what they are called in JSON."""

TrialOrJobArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL|JOB",
        help="A trial_id, or its beginning; or the number of a SLURM job.",
        show_default=False,
    ),
]


def why(
    run: RunArgument,
    trial: Annotated[
        str | None,
        typer.Argument(metavar="[TRIAL]", help="A trial_id, or its beginning.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show why trials and SLURM jobs failed, or trials had no start.

    With a trial, show all its attempts.

    Example: eos why runs/quickstart 3cfb7c
    """
    sweep, ledger = sweep_of(run), Ledger(run)
    state = ledger.read(sweep.columns)
    if trial is not None:
        _print_attempts(run, _full_name(run, state, ledger, trial), ledger, json)
        return
    rows = describe_trials(ledger.store, state.failures())
    ends, silence = job_ends_of(run, {})
    bad_ends = [_as_row(end) for end in ends if end.bad]
    cut_short = [
        {name: row[name] for name in ("trial_id", "column_id", "outcome", "error")}
        for row in ledger.store.rows("attempts")
        if row["outcome"] == "settled" and row["error"]
    ]
    if json:
        print_json([*rows, *cut_short, *bad_ends])
        return
    if rows:
        print_table([{**row, "error": first_line(row["error"])} for row in rows], FAILURE_COLUMNS)
        print(f"{len(rows)} failed; every attempt, and another chance, with")
        by_jobs = " --cluster FILE" if has_jobs(run) else ""
        print(f"  {command('why', run, more=' TRIAL')}")
        print(f"  {command('resume', run, '--failed', more=by_jobs)}")
    else:
        print("no trial has failed")
    if cut_short:
        title = "Without all rows: no start, or a central flow that could not go on"
        print_table(cut_short, ["trial_id", "error"], title=title, most=WIDEST, folded=FOLDED)
    if bad_ends:
        title = "SLURM jobs that ended badly"
        lines = [{name: end[field] for name, field in END_COLUMNS.items()} for end in bad_ends]
        print_table(lines, [*END_COLUMNS], title=title, most=WIDEST, folded=FOLDED)
    if silence is not None:
        print(f"sacct knows nothing ({silence}); the table shows what the jobs recorded themselves")


def logs(run: RunArgument, trial: TrialOrJobArgument) -> None:
    """Print the log of a trial, or the output of a SLURM job.

    The log of a trial has the lines of every process that worked on it.

    Example: eos logs runs/quickstart 3cfb7c
    """
    sweep = sweep_of(run)
    if print_job_output(run, trial):
        return
    ledger = Ledger(run)
    name = _full_name(run, ledger.read(sweep.columns), ledger, trial, read_jobs(run))
    for line in read_log(run, name):
        print(line)


COMMANDS = {"why": why, "logs": logs}


def _full_name(
    run: Path,
    state: RunState,
    ledger: Ledger,
    beginning: str,
    jobs: Collection[str] | None = None,
) -> str:
    """The one trial whose name begins so; ``jobs`` are what would have been right, too.

    Raises:
        UserError: there is none, or more than one.
    """
    found = sorted({*state.begins_with(beginning), *ledger.begins_with(beginning)})
    if len(found) != 1:
        some = ", ".join(found[:5]) if found else "none"
        what, or_job = "TRIAL", ""
        if jobs is not None:
            known = ", ".join(list(jobs)[-5:]) or "none is on record"
            what, or_job = "TRIAL|JOB", f", or the number of one of its SLURM jobs ({known})"
        raise UserError(
            f"{what} is {beginning!r}; it must be the beginning of one trial_id in {run} (it fits "
            f"{some}){or_job}"
        )
    return found[0]


def _as_row(end: JobEnd) -> Row:
    """The end of a job as a row like those of failed trials, of kind ``job``."""
    return {
        "trial_id": None,
        "kind": "job",
        "outcome": end.end,
        "failure_class": end.failure_class,
        "error": end.evidence,
        "source": end.source,
        "hostname": end.nodes,
        "slurm_job_id": end.job_id,
        "restart_count": end.restart,
    }


def _print_attempts(run: Path, name: str, ledger: Ledger, json: bool) -> None:
    """The attempts of a trial; those lost with their job with the class that its end proves."""
    attempts = sorted(
        (row for row in ledger.store.rows("attempts") if row["trial_id"] == name),
        key=lambda row: int(row["attempt"]),
    )
    unexplained = {
        str(row["slurm_job_id"]): row["started_at"].timestamp()
        for row in reversed(attempts)
        if _needs_evidence(row)
    }
    ends, silence = job_ends_of(run, unexplained) if unexplained else ([], None)
    attempts = [_with_evidence(row, ends) for row in attempts]
    if json:
        print_json(attempts)
        return
    for row in attempts:
        reason = f" ({row['failure_class']})" if row["failure_class"] else ""
        job = f", job {row['slurm_job_id']}" if row["slurm_job_id"] else ""
        ended = f" to {_clock(row['finished_at'])}" if row["finished_at"] else ""
        print(
            f"attempt {row['attempt']}: {row['outcome']}{reason} on {row['hostname']}{job}, "
            f"{_clock(row['started_at'])}{ended}"
        )
        if row["error"]:
            print("\n".join("    " + plain(line) for line in row["error"].splitlines()))
        if row["job_end"]:
            proven = row["job_failure_class"] or "no failure of the trial"
            print(f"    by its job's end: {proven} ({row['job_evidence']})")
    if silence is not None:
        print(f"sacct knows nothing of its jobs ({silence})")
    if not attempts:
        print(f"trial {name} has no attempt yet")


def _clock(moment: Any) -> str:
    return shown(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"))


def _with_evidence(row: Row, ends: Sequence[JobEnd]) -> Row:
    end = None
    if _needs_evidence(row):
        started = row["started_at"].timestamp()
        end = end_of_attempt(row["slurm_job_id"], row["restart_count"], started, ends)
    return {
        **row,
        "job_end": None if end is None else end.end,
        "job_failure_class": None if end is None else end.failure_class,
        "job_evidence": None if end is None else f"{end.source}: {end.evidence}",
    }


def _needs_evidence(row: Row) -> bool:
    """Whether an attempt was lost in a job, with nothing on record that says why."""
    return row["outcome"] == "lost" and row["failure_class"] is None and bool(row["slurm_job_id"])


def print_job_output(run: Path, job_id: str) -> bool:
    """Print what a job of the run wrote; False when the argument names none of its jobs."""
    files = output_files(run, job_id)
    record = read_jobs(run).get(job_id)
    if not files and record is None:
        return False
    if not files and record is not None and record.submission is None:
        print(
            f"job {job_id} was not submitted by eos; its output is where its script has it "
            f"(slurm/*.sbatch: slurm-{job_id}.log in the folder of the submission)"
        )
    elif not files:
        print(f"job {job_id} has written nothing into {run}/slurm/{job_id} yet")
    for path in files:
        print(f"==> {path} <==")
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                print(line.rstrip("\n"))
    return True
