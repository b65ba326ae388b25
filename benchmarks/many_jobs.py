"""What many jobs on one run cost a file server and the queue, and a simulation of their time.

    .venv/bin/python benchmarks/many_jobs.py [--jobs 8 32] [--columns 1000] [--only simulation]

- *race*: so many processes that start at once lease columns of one run until all are leased;
  how often each tried, and how long it took until every process had its first.
- *operations*: the file operations of a job at one heartbeat, at one look of a job that waits
  while others hold everything, and at one lease, counted with strace (without it, left out).
- *looks*: one look of ``eos status`` at 1,000 jobs, ten starts each.
- *simulation*: J jobs on C columns; see :func:`simulate` for what it assumes.
"""

from __future__ import annotations

import argparse
import heapq
import math
import multiprocessing
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from grown import prepared, settle
from script import parse, table

from orchestrator.ledger import Leases
from orchestrator.slurm import records
from orchestrator.slurm.job_states import job_states
from orchestrator.slurm.queue import END, FIELDS, parse_queue

START_SECONDS = 30.0
REQUEUED_SECONDS = 600.0
IDLE_SECONDS = 900.0


def racer(run: Path, columns: list[str], start: float, results: multiprocessing.Queue) -> None:
    """Lease one column after the other, as the work queue does, until none is free."""
    leases, first, tries = Leases(run), None, 0
    time.sleep(max(start - time.time(), 0))
    began, count = time.time(), 0
    while count < len(columns):
        got = None
        for column_id in leases.in_turn([c for c in columns if c not in leases.columns]):
            tries += 1
            if leases.acquire(column_id):
                got = column_id
                break
        if got is None:
            break
        first = time.time() - began if first is None else first
        count += 1
        time.sleep(0.05)  # a column takes a while
    results.put((count, tries, first, time.time() - began))
    time.sleep(600)


def race(jobs: int, columns: int) -> list[str]:
    """So many processes at once; a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        prepared(run, 1)
        names = [f"{number:016x}" for number in range(columns)]
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        start = time.time() + 2
        processes = [
            context.Process(target=racer, args=(run, names, start, results)) for _ in range(jobs)
        ]
        for process in processes:
            process.start()
        ended = [results.get(timeout=300) for _ in processes]
        for process in processes:
            process.kill()
            process.join()
    leased, tries = sum(one[0] for one in ended), sum(one[1] for one in ended)
    firsts = [one[2] for one in ended if one[2] is not None]
    return [
        *(str(jobs), str(columns), str(leased), f"{tries / leased:.2f}"),
        *(f"{statistics.median(firsts):.3f}", f"{max(firsts):.3f}"),
        f"{max(one[3] for one in ended):.1f}",
    ]


RACE = [
    *("processes", "columns", "leased, each once", "tries a lease"),
    *("first lease, s (median)", "(last)", "all after s"),
]


COUNTED = (
    "open,openat,stat,newfstatat,statx,lstat,access,faccessat2,link,linkat,rename,renameat,"
    "unlink,unlinkat,utimensat,getdents64,mkdir,readlink"
)


def operations(columns: int, jobs: int) -> Iterator[list[str]]:
    """System calls that name a path below the run directory, each a request to a file server."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        sweep = prepared(run, columns)
        settle(run, sweep.columns[: columns // 2], 16)
        for number in range(1, jobs + 1):
            for restart in range(2):
                one = records.StartRecord(str(number), restart, ("n",), "h", 0.0, None)
                records.record_start(run, one)
        for act in ("lease", "heartbeat", "look"):
            trace = Path(folder) / f"{act}.trace"
            own = [sys.executable, __file__, "--act", act, "--run", str(run)]
            subprocess.run(
                ["strace", "-f", "-y", "-e", f"trace={COUNTED}", "-o", str(trace), *own],
                check=True,
                timeout=300,
            )
            yield [act, *_counted(trace.read_text())]


def _counted(trace: str) -> list[str]:
    begin, end = trace.index("/begin-to-count"), trace.index("/end-of-count")
    calls: dict[str, int] = {}
    for line in trace[begin:end].splitlines():
        name = re.match(r"\d+ +(\w+)\(", line)
        if name and "/run/" in line:
            calls[name[1]] = calls.get(name[1], 0) + 1
    each = ", ".join(f"{count} {call}" for call, count in sorted(calls.items()))
    return [str(sum(calls.values())), each]


def act(name: str, run: Path) -> None:
    """Do one thing between two marks in the trace."""
    from orchestrator.engine.work import Provenance
    from orchestrator.engine.work_queue import WorkQueue
    from orchestrator.ledger import Ledger
    from orchestrator.run_directory import sweep_of

    columns = sweep_of(run).columns
    leases, others = Leases(run), Leases(run)
    ledger = Ledger(run)
    state = ledger.read(columns)
    queue = WorkQueue(run, state, leases, ledger, Provenance.here("grown"), run / "stop")
    one = records.StartRecord("500", 1, ("n",), "h", 0.0, None)
    deeds: dict[str, Callable[[], object]] = {
        "lease": queue.has_work,
        "heartbeat": lambda: (
            leases.renew(),
            records.beat(run, one),
            records.superseded(run, one),
        ),
        "look": lambda: (queue.has_work(), queue.catch_up()),
    }
    if name == "heartbeat":
        queue.has_work()
    if name == "look":
        for column in columns:
            others.acquire(column.column_id)
        queue.has_work()  # the first look reads all leases
    os.access("/begin-to-count", os.F_OK)
    deeds[name]()
    os.access("/end-of-count", os.F_OK)
    leases.release_all()
    others.release_all()


def looks(jobs: int, starts: int) -> list[str]:
    """What ``eos status`` does with the records and the queue of so many jobs."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run.mkdir()
        for number in range(1, jobs + 1):
            job_id = str(number)
            records.record_submission(run, records.Submission(job_id, "eos", 0.0, "p"))
            for restart in range(starts):
                one = records.StartRecord(job_id, restart, ("n1",), "h", 0.0, None)
                records.record_start(run, one)
        read = _seconds(lambda: records.read_jobs(run))
        last = records.StartRecord("1", starts - 1, ("n1",), "h", 0.0, None)
        beats = _seconds(lambda: records.superseded(run, last))
        known = records.read_jobs(run)
    values = dict.fromkeys(FIELDS, "x") | {"UserID": str(os.getuid()), "State": "RUNNING"}
    text = "".join(
        "".join(
            f"{number if name in ('JobID', 'JobArrayID') else value} \x1f"
            for name, value in values.items()
        )
        + END
        for number in range(1, jobs + 1)
    )
    parsed = _seconds(lambda: parse_queue(text, str(os.getuid())))
    queue = parse_queue(text, str(os.getuid()))
    assert len(queue) == jobs, len(queue)
    judged = _seconds(lambda: job_states(known, queue, None, time.time()))
    seconds = [f"{read:.2f}", f"{parsed:.3f}", f"{judged:.3f}", f"{beats:.4f}"]
    return [str(jobs), str(starts), f"{len(text) / 1024:.0f}", *seconds]


LOOKS = [
    *("jobs", "starts of each", "squeue's KiB", "reading records, s", "parsing squeue, s"),
    *("states, s", "a job's look for a later start, s"),
]


def _seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def simulate(
    jobs: int,
    columns: int,
    *,
    hours: float,
    spread: float,
    limit_hours: float,
    off: float | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """J jobs that share C columns by leases; returns hours to the end and what was used.

    They take them in the file's order; with ``off``, the longest first by a prediction that is
    log-normally wrong with this sigma.

    Assumed: all jobs start within ten minutes, and 30 s pass from a start to the first lease. A
    column takes a whole job, log-normally distributed around ``hours`` with ``spread`` as sigma. A
    job that meets its time limit puts itself back and starts again after ten minutes, going on
    with its column from a checkpoint. A job that finds nothing gives up after 15 minutes.
    """
    draw = random.Random(seed)
    work = [3600 * hours * draw.lognormvariate(0, spread) for _ in range(columns)]
    # Each job: when it is free, when it started, what is left of its column.
    free = [(began + START_SECONDS, began, 0.0) for began in _uniform(draw, jobs)]
    heapq.heapify(free)
    held = busy = end = 0.0
    left = list(reversed(work))
    if off is not None:
        predicted = [seconds * draw.lognormvariate(0, off) for seconds in left]
        left = [seconds for _, seconds in sorted(zip(predicted, left, strict=True))]
    idle = requeued = 0
    while free:
        now, began, rest = heapq.heappop(free)
        rest = rest or (left.pop() if left else 0.0)
        if not rest:
            idle += 1
            held += now + IDLE_SECONDS - began
            continue
        step = min(rest, began + 3600 * limit_hours - now)
        now, rest, busy = now + step, rest - step, busy + step
        end = max(end, now)
        if rest or now - began >= 3600 * limit_hours:
            requeued += 1
            held += now - began
            began = now + REQUEUED_SECONDS
            now = began + START_SECONDS
        heapq.heappush(free, (now, began, rest))
    ideal = max(sum(work) / jobs, max(work))
    return {
        "hours": end / 3600,
        "against ideal": end / ideal,
        "used": busy / held,
        "put back": requeued,
        "gave up": idle,
        "idle job-hours": idle * IDLE_SECONDS / 3600,
    }


def _uniform(draw: random.Random, jobs: int) -> list[float]:
    return [draw.uniform(0, REQUEUED_SECONDS) for _ in range(jobs)]


SIMULATION = [
    *("J", "order of columns", "hours to the end", "÷ ideal", "job time used", "put back"),
    "gave up, job-hours",
]

ORDERS = {"the file's": None, "longest first": 0.0, "the same, ×2 wrong": math.log(2)}


def simulation(columns: int) -> Iterator[list[str]]:
    """A row for each J and order."""
    for jobs in (1, 3, 10, 30, 100, 300, 1000):
        for order, off in ORDERS.items():
            r = simulate(jobs, columns, hours=1.0, spread=0.7, limit_hours=24.0, off=off)
            cells = [f"{r['hours']:.1f}", f"{r['against ideal']:.2f}", f"{100 * r['used']:.0f} %"]
            idle = f"{r['gave up']:.0f}, {r['idle job-hours']:.1f}"
            yield [str(jobs), order, *cells, f"{r['put back']:.0f}", idle]


def main() -> None:
    """Run all parts, or some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--columns", type=int, default=1000)
    names = ["race", "operations", "looks", "simulation"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--act", help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--records", type=int, default=1000, help="jobs whose records are there")
    options = parse(parser, jobs=[2], columns=4, records=3)
    if options.act:
        act(options.act, options.run)
        return
    columns, records_of = options.columns, options.records
    parts: dict[str, tuple[list[str], Iterable[list[str]]]] = {
        "race": (RACE, (race(jobs, columns) for jobs in options.jobs)),
        "operations": (["act", "calls", "of which"], operations(columns, records_of)),
        "looks": (LOOKS, (looks(jobs, 10) for jobs in [records_of])),
        "simulation": (SIMULATION, simulation(columns)),
    }
    for name in options.only:
        print(f"\n{name}\n")
        if name == "operations" and not shutil.which("strace"):
            print("left out: strace is not there")
            continue
        table(*parts[name])


if __name__ == "__main__":
    main()
