"""``eos status``: the trials of each column by state, and the SLURM jobs of a run."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.cli.options import Json, RunArgument
from orchestrator.cli.output import MOST_ROWS, command, duration, print_json, print_table
from orchestrator.ledger.status import read_status
from orchestrator.slurm.job_states import JobState
from orchestrator.slurm.run_jobs import Observation, observe

MOST_JOBS_SHOWN = 30

WIDEST = 100
"""Characters of a line of a table of jobs outside of a terminal: reasons may be sentences."""

FOLDED = ("reason", "nodes", "evidence")
JOB_COLUMNS = ("job", "state", "reason", "nodes", "restarts", "known by", "time left")


def status(run: RunArgument, json: Json = False) -> None:
    """Show the trials of each column by state, and SLURM jobs.

    Changes nothing.

    Example: eos status runs/quickstart
    """
    state = read_status(run)
    seen = observe(run, state.sweep)
    if json:
        columns = [{**asdict(column), **asdict(column.trials)} for column in state.columns]
        for entry in columns:
            del entry["trials"]
        content = {**vars(state), "trials": asdict(state.trials), "columns": columns}
        jobs, orphans = map(asdict, seen.jobs), map(asdict, seen.orphans)
        content |= {"jobs": [*jobs], "orphans": [*orphans], "slurm_silence": seen.silence}
        print_json(content)
        return
    rows = [
        {
            "column": column.label,
            **{name.replace("_", " "): n for name, n in asdict(column.trials).items()},
            "leased by": column.leased_by,
            "heartbeat": None if column.heartbeat_s is None else duration(column.heartbeat_s),
            "last result": _ago(column.last_result_s),
        }
        for column in state.columns[:MOST_ROWS]
    ]
    unseen = set() if state.trials.blocked else {"blocked"}
    names = [name for name in rows[0] if name not in unseen]
    print_table(rows, names, total=len(state.columns))
    left, seconds = state.trials.left, state.remaining_s
    go = f", about {duration(seconds)} of one worker to go" if left and seconds is not None else ""
    print(f"{state.trials.settled} trials settled, {left} left{go}")
    if state.slurm_jobs and not seen.jobs:
        print(f"active SLURM jobs: {', '.join(state.slurm_jobs)}")
    for column in itertools.islice(state.columns.refining(), MOST_ROWS):
        print(f"{column.label}: {column.refined}")
    for column in state.columns.blocked():
        print(f"{column.label}: {column.blocked}")
    if state.older:
        print(of_older_version(state.older))
    for path in state.damaged:
        print(f"damaged: {path}")
    print_jobs(run, seen)


COMMANDS = {"status": status}


def _ago(seconds: float | None) -> str | None:
    return None if seconds is None else f"{duration(seconds)} ago"


def of_older_version(trials: int) -> str:
    """Why settled trials of an older version do not count."""
    return (
        f"{trials} settled trials of an older version do not count, because trials have other "
        "names now: their rows stay, and what the sweep asks for is computed again"
    )


def print_jobs(run: Path, seen: Observation) -> None:
    """The jobs below the columns of ``eos status``: what may run first, then what has ended."""
    jobs = sorted(seen.jobs, key=lambda job: (not job.live, -(job.since or 0.0)))
    shown = [*jobs[:MOST_JOBS_SHOWN], *seen.orphans[:MOST_JOBS_SHOWN]]
    if not shown:
        return
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
        print(f"the queue is not known ({seen.silence}); the table shows what was recorded")
    if any(job.last_known is not None for job in jobs):
        print(f"what accounting knows of jobs that are unknown: {command('why', run)}")
    for job in jobs:
        if job.silent_s is not None:
            print(
                f"job {job.job_id} is {job.state} but has shown no sign of life for "
                f"{duration(job.silent_s)}; see {command('logs', run, job.job_id)}"
            )
    if seen.orphans:
        names = [job.job_id for job in seen.orphans]
        print(
            f"{len(seen.orphans)} in SLURM's queue with this run's name, but not on its record; to "
            f"end them\n  {command('cancel', run, *names)}"
        )


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
    expected = {"running": "RUNNING", "pending": "PENDING", "requeued": "PENDING"}.get(job.phase)
    return text if job.state in (None, expected) else f"{text} ({job.state})"
