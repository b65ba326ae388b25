"""How the cost of a run grows with its trials: what a job does before, between and after them.

    .venv/bin/python benchmarks/scaling.py [--trials 100 1000 10000] [--a-part 1 16]

Makes run directories in which so many trials are settled (``grown.py``), with so many trials in
each part file, and then compacts them; and measures with the product's own code, each in a process
of its own: expanding the sweep, reading the ledger, looking again when nothing or one part is new,
what a job does until its first lease, a snapshot for those who watch, and ``eos status``. Figures
are seconds of CPU (and of wall time, which other programs on the machine lengthen), and the most
memory of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grown import columns_for, prepared, settle
from script import parse, table

from orchestrator.entry import collect_seldom
from orchestrator.ledger import Leases, Ledger
from orchestrator.ledger.status import read_status
from orchestrator.plan import RunState
from orchestrator.run_directory import sweep_of
from orchestrator.store import compact, remove_orphaned_temporaries

PAUSE = "pause"
Steps = dict[str, Callable[[], Any]]


def expand(run: Path) -> Steps:
    """From the sweep file to the state of a run in which nothing has happened."""
    state: dict[str, Any] = {}
    return {
        "load sweep.yaml, columns": lambda: state.update(sweep=sweep_of(run)),
        "RunState.of": lambda: RunState.of(state["sweep"].columns),
    }


def ledger(run: Path) -> Steps:
    """The state by the tables, read at the start and again."""
    state: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp()) / "run"
    columns = prepared(folder, len(sweep_of(run).columns) + 1).columns
    spare, read = columns[-1], Ledger(run)
    before = set(run.rglob("*.parquet"))

    def remove() -> None:
        for path in set(run.rglob("*.parquet")) - before:
            path.unlink()

    def catch_up() -> None:
        state.update(state=read.catch_up(state["state"]))

    return {
        "read": lambda: state.update(state=read.read(columns)),
        "catch up, nothing new": catch_up,
        f"{PAUSE} to add": lambda: settle(run, [spare], 17),
        "catch up, one part new": catch_up,
        f"{PAUSE} to remove": remove,
    }


def start(run: Path) -> Steps:
    """What a job does from its start to its first lease, in the order in which it does that."""
    from orchestrator.engine.work import Provenance
    from orchestrator.engine.work_queue import WorkQueue

    state: dict[str, Any] = {}
    # A column that is left to do, after all that are settled.
    prepared(run, len(sweep_of(run).columns) + 1)

    def read() -> None:
        ledger = Ledger(run, warn=print)
        state.update(ledger=ledger, state=ledger.read(state["sweep"].columns).begun())

    def queue() -> WorkQueue:
        leases, origin = Leases(run), Provenance.here("grown")
        return WorkQueue(run, state["state"], leases, state["ledger"], origin, run / "stop")

    def end() -> None:
        state["queue"].leases.release_all()
        prepared(run, len(sweep_of(run).columns) - 1)

    return {
        "sweep": lambda: state.update(sweep=sweep_of(run)),
        "orphaned temporaries": lambda: remove_orphaned_temporaries(run),
        "read the state": read,
        "queue": lambda: state.update(queue=queue()),
        "snapshot": lambda: state["queue"].snapshot(),
        "lease": lambda: state["queue"].has_work(),
        "catch up": lambda: state["queue"].catch_up(),
        "snapshot again": lambda: state["queue"].snapshot(),
        "meanwhile: check of the other tables": lambda: state["ledger"].check_other_tables(),
        f"{PAUSE} to end": end,
    }


def status(run: Path) -> Steps:
    """``eos status``, without its drawing."""
    return {"read_status": lambda: read_status(run)}


def merge(run: Path) -> Steps:
    """``eos compact``."""
    return {"compact": lambda: compact(run)}


CASES: dict[str, Callable[[Path], Steps]] = {
    "expand": expand,
    "ledger": ledger,
    "start": start,
    "status": status,
    "compact": merge,
}


def measured(steps: Steps) -> dict[str, list[float]]:
    """CPU seconds, wall seconds and peak MiB of the process after each step."""
    figures = {}
    for name, step in steps.items():
        cpu, wall = time.process_time(), time.perf_counter()
        step()
        if name.startswith(PAUSE):
            continue
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures[name] = [time.process_time() - cpu, time.perf_counter() - wall, peak]
    return figures


def measure(case: str, run: Path, about: str) -> Iterator[list[str]]:
    """Measure one case in a process of its own; a row for each step."""
    ended = subprocess.run(
        [sys.executable, __file__, "--case", case, "--run", str(run)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for step, (cpu, wall, peak) in json.loads(ended.stdout.splitlines()[-1]).items():
        yield [about, case, step, f"{cpu:.3f}", f"{wall:.3f}", f"{peak:.0f}"]


def main() -> None:
    """Measure all sizes, or one case on one run directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--a-part", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--keep", type=Path, help="where run directories are made and stay")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parse(parser, trials=[20], a_part=[16], cases=["start", "compact"])
    if options.case:
        collect_seldom()  # as the command does
        print(json.dumps(measured(CASES[options.case](options.run))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        heads = ["trials, trials a part", "case", "step", "CPU s", "wall s", "peak MiB"]
        table(heads, all_sizes(options, options.keep or Path(temporary)))


def all_sizes(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """The rows of all sizes."""
    for trials in options.trials:
        for a_part in options.a_part:
            run = folder / f"run-{trials}-{a_part}"
            sweep = prepared(run, columns_for(trials))
            before = time.perf_counter()
            count = settle(run, sweep.columns, a_part)
            files = sum(1 for _ in run.rglob("*.parquet"))
            took = time.perf_counter() - before
            print(f"{count} trials in {files} files, made in {took:.0f} s", file=sys.stderr)
            for case in options.cases:
                yield from measure(case, run, f"{count}, {a_part}")
            if "compact" in options.cases:
                for case in options.cases:
                    if case not in ("compact", "expand"):
                        yield from measure(case, run, f"{count}, compacted")


if __name__ == "__main__":
    main()
