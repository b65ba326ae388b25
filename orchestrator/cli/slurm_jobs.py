"""A run's SLURM jobs on the command line: their part of other commands, and ``eos cancel``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.output import command, duration, print_json, print_table
from orchestrator.cli.run import Json, RunArgument
from orchestrator.ledger import Row
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.cancel import cancel_jobs
from orchestrator.slurm.evidence import JobEnd, end_of_attempt
from orchestrator.slurm.job_state import JobState
from orchestrator.slurm.observe import Observation, job_ends_of, output_files
from orchestrator.slurm.records import read_jobs

MOST_JOBS_SHOWN = 30

WIDEST = 100
"""Characters of a line of a table of jobs outside of a terminal: reasons may be sentences."""

FOLDED = ("reason", "nodes", "evidence")
JOB_COLUMNS = ("job", "state", "reason", "nodes", "restarts", "known by", "time left")
END_COLUMNS = ("job", "start", "ended", "failure_class", "by", "nodes", "evidence")


def cancel(
    run: RunArgument,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB …]", help="Only these of its jobs.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Cancel the SLURM jobs of a run, or some of them.

    Without JOB, all that may still run. Jobs of others are left alone.

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
        print(f"job {job_id} is not in SLURM's queue; nothing to cancel")
    if not done.cancelled and not done.over:
        print(done.silence or "no job of this run is in SLURM's queue")


COMMANDS = {"cancel": cancel}


def observation_as_json(seen: Observation) -> dict[str, Any]:
    """The jobs for ``eos status --json``."""
    return {
        "jobs": [asdict(job) for job in seen.jobs],
        "orphans": [asdict(job) for job in seen.orphans],
        "slurm_silence": seen.silence,
    }


def print_jobs(run: Path, seen: Observation) -> None:
    """The jobs below the columns of ``eos status``: what may run first, then what has ended."""
    jobs = sorted(seen.jobs, key=lambda job: (not job.live, -(job.since or 0.0)))
    shown = [*jobs[:MOST_JOBS_SHOWN], *seen.orphans[:MOST_JOBS_SHOWN]]
    if not shown:
        return
    named = shlex.quote(str(run))
    print_table(
        [_line(job) for job in shown], JOB_COLUMNS, title="SLURM jobs", most=WIDEST, folded=FOLDED
    )
    left = len(jobs) + len(seen.orphans) - len(shown)
    if left:
        print(f"… and {left} more jobs")
    counts = Counter(job.phase for job in jobs)
    if counts:
        print("SLURM jobs: " + ", ".join(f"{count} {phase}" for phase, count in counts.items()))
    if seen.silence is not None:
        print(f"the queue is not known ({seen.silence}); shown is what was recorded")
    if any(job.last_known is not None for job in jobs):
        print(f"what accounting knows of jobs that are unknown: {command()} why {named}")
    for job in jobs:
        if job.silent_s is not None:
            print(
                f"job {job.job_id} is {job.state} but has shown no sign of life for "
                f"{duration(job.silent_s)}; see {command()} logs {named} {job.job_id}"
            )
    if seen.orphans:
        names = " ".join(job.job_id for job in seen.orphans)
        print(
            f"{len(seen.orphans)} in SLURM's queue with this run's name, but not on its record; to "
            f"end them\n  {command()} cancel {named} {names}"
        )


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


def _line(job: JobState) -> dict[str, Any]:
    return {
        "job": job.job_id,
        "state": state_in_words(job),
        "reason": job.reason,
        "nodes": job.nodes,
        "restarts": job.restarts,
        "known by": f"{job.source}, " + (f"{duration(job.age_s)} ago" if job.age_s else "now"),
        "time left": None if job.time_left_s is None else duration(job.time_left_s),
    }


def state_in_words(job: JobState) -> str:
    """The state in words: SLURM's own where it says more than ours."""
    text: str = job.phase if job.on_record else f"{job.phase}, not on record"
    if job.phase == "ended":
        return f"ended: {job.end}"
    if job.phase == "ending" and job.end is not None:
        return f"ending: {job.end}"
    if job.last_known is not None:
        return f"unknown for {duration(job.age_s)}, was {job.last_known}"
    usual = {"running": "RUNNING", "pending": "PENDING", "requeued": "PENDING"}.get(job.phase)
    return text if job.state in (None, usual) else f"{text} ({job.state})"
