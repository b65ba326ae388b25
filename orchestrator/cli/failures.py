"""``eos why`` and ``eos logs``: what went wrong with trials and SLURM jobs, and their logs."""

from __future__ import annotations

import shlex
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

END_COLUMNS = ("job", "start", "ended", "failure_class", "by", "nodes", "evidence")

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


def _clock(moment: Any) -> str:
    return shown(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S"))


def ends_of(run: Path, attempts: Sequence[Row] = ()) -> tuple[list[JobEnd], str | None]:
    """How the jobs of a run, and those that attempts name, ended; and why SLURM said nothing."""
    named = {
        str(row["slurm_job_id"]): row["started_at"].timestamp()
        for row in sorted(attempts, key=lambda row: int(row["attempt"]), reverse=True)
        if row["slurm_job_id"]
    }
    return job_ends_of(run, named)


def bad_ends_as_rows(ends: Sequence[JobEnd]) -> list[Row]:
    """Jobs that ended badly as rows like those of failed trials, of kind ``job``."""
    return [
        {
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
        for end in ends
        if end.bad
    ]


def print_bad_ends(ends: Sequence[JobEnd], silence: str | None) -> None:
    """The jobs that ended badly, each with its evidence."""
    rows = [
        {
            "job": end.job_id,
            "start": end.restart,
            "ended": end.end,
            "failure_class": end.failure_class,
            "by": end.source,
            "nodes": end.nodes,
            "evidence": end.evidence,
        }
        for end in ends
        if end.bad
    ]
    if rows:
        print_table(
            rows, END_COLUMNS, title="SLURM jobs that ended badly", most=WIDEST, folded=FOLDED
        )
    if silence is not None:
        print(f"sacct knows nothing ({silence}); shown is what the jobs themselves recorded")


def with_evidence(attempts: Sequence[Row], ends: Sequence[JobEnd]) -> list[Row]:
    """Attempts, those lost with their job each with the class that its job's end proves."""
    rows = []
    for row in attempts:
        end = None
        if needs_evidence(row):
            end = end_of_attempt(
                row["slurm_job_id"], row["restart_count"], row["started_at"].timestamp(), ends
            )
        rows.append(
            {
                **row,
                "job_end": None if end is None else end.end,
                "job_failure_class": None if end is None else end.failure_class,
                "job_evidence": None if end is None else f"{end.source}: {end.evidence}",
            }
        )
    return rows


def needs_evidence(row: Row) -> bool:
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
            f"job {job_id} was not submitted by {command()}; its output is where its script has it "
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
