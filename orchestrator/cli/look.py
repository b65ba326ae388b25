"""``eos status``, ``eos why``, ``eos logs``: what a run is doing and what went wrong; read-only."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.output import command, duration, print_json, print_table, shown
from orchestrator.cli.plain_text import plain
from orchestrator.cli.run import Json, RunArgument, of_older_version
from orchestrator.cli.slurm_jobs import (
    bad_ends_as_rows,
    ends_of,
    needs_evidence,
    observation_as_json,
    print_bad_ends,
    print_job_output,
    print_jobs,
    with_evidence,
)
from orchestrator.first_line import first_line
from orchestrator.ledger import Ledger
from orchestrator.ledger.status import RunStatus, describe_trials, read_status
from orchestrator.logs import read_log
from orchestrator.plan import Counts, RunState
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.observe import observe
from orchestrator.slurm.records import has_jobs, read_jobs

TrialOrJobArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL|JOB",
        help="A trial_id, or its beginning; or the number of a SLURM job.",
        show_default=False,
    ),
]


def status(run: RunArgument, json: Json = False) -> None:
    """Show the trials of each column by state, and SLURM jobs.

    Nothing is changed.

    Example: eos status runs/quickstart
    """
    state = read_status(run)
    seen = observe(run, state.sweep)
    if json:
        print_json({**as_json(state), **observation_as_json(seen)})
        return
    rows = [
        {
            "column": column.label,
            **_by_state(column.trials),
            "claimed by": column.claimed_by,
            "heartbeat": None if column.heartbeat_s is None else duration(column.heartbeat_s),
            "last result": _ago(column.last_result_s),
        }
        for column in state.columns
    ]
    unseen = set() if state.trials.blocked else {"blocked"}
    print_table(rows, [name for name in rows[0] if name not in unseen])
    left = state.trials.left
    seconds = state.remaining_s if left else None
    go = "" if seconds is None else f", about {duration(seconds)} of one worker to go"
    print(f"{state.trials.settled} trials settled, {left} left{go}")
    if state.slurm_jobs and not seen.jobs:
        print(f"SLURM jobs at work: {', '.join(state.slurm_jobs)}")
    for column in state.columns:
        if column.blocked:
            print(f"{column.label}: {column.blocked}")
    if state.older:
        print(of_older_version(state.older))
    for path in state.damaged:
        print(f"damaged: {path}")
    print_jobs(run, seen)


def why(
    run: RunArgument,
    trial: Annotated[
        str | None,
        typer.Argument(metavar="[TRIAL]", help="A trial_id, or its beginning.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show why trials and SLURM jobs failed.

    With a trial, all its attempts.

    Example: eos why runs/quickstart 3cfb7c
    """
    sweep, ledger = sweep_of(run), Ledger(run)
    state = ledger.read(sweep.columns)
    if trial is None:
        rows = describe_trials(ledger.store, state.failures())
        ends, silence = ends_of(run)
        if json:
            print_json([*rows, *bad_ends_as_rows(ends)])
            return
        if rows:
            print_table(
                [{**row, "error": first_line(row["error"])} for row in rows],
                [
                    "trial_id",
                    "kind",
                    "eta",
                    "failure_class",
                    "attempt",
                    "hostname",
                    "slurm_job_id",
                    "error",
                ],
            )
            print(f"{len(rows)} failed; every attempt, and another chance, with")
            named, by_jobs = shlex.quote(str(run)), " --cluster FILE" if has_jobs(run) else ""
            print(f"  {command()} why {named} TRIAL")
            print(f"  {command()} resume {named} --failed{by_jobs}")
        else:
            print("no trial has failed")
        print_bad_ends(ends, silence)
        return
    name = _full_name(run, state, ledger, trial)
    attempts = sorted(
        (row for row in ledger.store.rows("attempts") if row["trial_id"] == name),
        key=lambda row: int(row["attempt"]),
    )
    unexplained = [row for row in attempts if needs_evidence(row)]
    ends, silence = ends_of(run, unexplained) if unexplained else ([], None)
    attempts = with_evidence(attempts, ends)
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
        print(f"trial {name} was not tried yet")


def logs(run: RunArgument, trial: TrialOrJobArgument) -> None:
    """Print the log of a trial, or the output of a SLURM job.

    Of a trial, from every process that worked on it.

    Example: eos logs runs/quickstart 3cfb7c
    """
    sweep = sweep_of(run)
    if print_job_output(run, trial):
        return
    ledger = Ledger(run)
    name = _full_name(run, ledger.read(sweep.columns), ledger, trial, read_jobs(run))
    for line in read_log(run, name):
        print(line)


COMMANDS = {"status": status, "why": why, "logs": logs}


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


def as_json(state: RunStatus) -> dict[str, Any]:
    """A status with the numbers of trials beside the rest of each column."""
    columns = [{**asdict(column), **asdict(column.trials)} for column in state.columns]
    for column in columns:
        del column["trials"]
    return {**asdict(state), "columns": columns, "trials": asdict(state.trials)}


def _by_state(trials: Counts) -> dict[str, int]:
    return {name.replace("_", " "): number for name, number in asdict(trials).items()}


def _ago(seconds: float | None) -> str | None:
    return None if seconds is None else f"{duration(seconds)} ago"


def _clock(moment: Any) -> str:
    return shown(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
