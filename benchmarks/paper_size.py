"""The paper's first figures at their own size: E1, E3, E4 and E5 with fully connected networks.

    python benchmarks/paper_size.py --plan work.json                       # where all is installed
    python benchmarks/paper_size.py --compute work.json found.pickle       # where a GPU is
    python benchmarks/paper_size.py --record work.json found.pickle --run runs/paper-size

A machine that is lent for minutes may have torch and numpy and none of the other packages: there,
the trials of each column are computed by ``jobs`` alone, first the flow and then GD at all learning
rates as one computation, and kept in a pickle, column by column, until ``--minutes`` are over.
Their rows are then written into a run directory like those of any run, and ``paper_small.py --run
runs/paper-size --configs benchmarks/paper_size`` judges the claims by them. The sweeps in
``paper_size`` are those of ``configs/paper``, without the measures besides S, norms and test loss.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from script import parse, table

from jobs import OngoingTrial, Problem, Protocol, Trial, TrialResult
from jobs.ongoing import advance

SWEEPS = Path(__file__).with_name("paper_size")
SMALLEST = """
name: smallest
problem: {dataset: digits, n_train: 50, width: 8, depth: 1, activation: tanh, loss: mse}
eta: {values: [0.5, 1.0]}
stop: {epsilon: [0.45, 0.4]}
"""


@dataclasses.dataclass(frozen=True)
class Computed:
    """A trial that ended, and when; ``seconds`` are its share of what it was computed in."""

    result: TrialResult
    device: str
    started_at: float
    finished_at: float
    seconds: float


def columns_of_all(*, smallest: bool) -> tuple[Any, ...]:
    """The columns of the sweeps, each once."""
    from orchestrator.sweep import load, parse

    files = sorted(SWEEPS.glob("*.yaml"))
    sweeps = [parse(SMALLEST)] if smallest else [load(path) for path in files]
    return tuple(dict.fromkeys(column for sweep in sweeps for column in sweep.columns))


def plan(*, smallest: bool) -> list[dict[str, Any]]:
    """The columns, each once, as JSON: problem, protocol, and multiples of η_c."""
    return [
        {
            "problem": dataclasses.asdict(column.problem),
            "protocol": dataclasses.asdict(column.protocol),
            "multiples": [m for eta in column.etas for m in eta.multiples],
        }
        for column in columns_of_all(smallest=smallest)
    ]


def computed(columns: list[dict[str, Any]], device: str, seconds: float) -> Iterator[Computed]:
    """The trials of the columns, in order, as far as they end in time."""
    end = time.monotonic() + seconds

    def over() -> bool:
        return time.monotonic() > end

    for column in columns:
        problem, protocol = Problem(**column["problem"]), Protocol(**column["protocol"])
        shared = {"problem": problem, "protocol": protocol}
        flows = list(_together([Trial(kind="flow", **shared)], device, over))
        yield from flows
        reached = [
            row.max_sharpness
            for one in flows
            for row in one.result.crossings
            if row.status == "reached" and row.epsilon == protocol.epsilons[-1]
        ]
        rates = [multiple * (2 / s) for s in reached if s for multiple in column["multiples"]]
        trials = [Trial(kind="gd", learning_rate=eta, **shared) for eta in rates]
        yield from _together(trials, device, over)


def _together(trials: list[Trial], device: str, over: Any) -> Iterator[Computed]:
    """Those that end in time."""
    if not trials:
        return
    started, begin = time.time(), time.monotonic()
    runs = [OngoingTrial(trial, device=device) for trial in trials]
    advance(runs, over)
    seconds = (time.monotonic() - begin) / len(runs)
    for run in runs:
        if run.finished:
            yield Computed(run.result(), device, started, time.time(), seconds)


def record(found: list[Computed], run: Path, *, smallest: bool) -> list[list[str]]:
    """Write the rows into a run directory; a row of a table for each column."""
    from orchestrator.engine.commit import FinishedTrial, commit
    from orchestrator.engine.work import Assignment, Provenance
    from orchestrator.ledger import Ledger
    from orchestrator.store import create

    create(run)
    by_trial = {one.result.trial: one for one in found}
    columns = columns_of_all(smallest=smallest)
    origin, table_rows = Provenance.here("paper-size"), []

    def keep(state: Any, kind: str) -> None:
        finished = []
        for column in columns:
            plan = state.column(column.column_id).plan
            for trial in plan.trials:
                if trial.kind == kind and trial in by_trial:
                    one, flow = by_trial[trial], plan.flow
                    asked = plan.asked_rate(trial) if kind == "gd" else None
                    assignment = Assignment(trial, column.column_id, 1, flow, 0, asked)
                    times = (one.started_at, one.finished_at, one.seconds)
                    finished.append(FinishedTrial(assignment, one.result, one.device, 1, *times))
        if finished:
            commit(run, finished, origin)

    for kind in ("flow", "gd"):
        keep(Ledger(run).read(columns), kind)
    state = Ledger(run).read(columns)
    for column in columns:
        counts = state.column(column.column_id).counts
        label = f"{column.problem.dataset}, {column.problem.loss}"
        table_rows.append([label, str(counts.settled), str(counts.left)])
    return table_rows


def main() -> None:
    """One of the three steps, or with ``--smallest`` all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, metavar="WORK", help="write what is to be computed")
    parser.add_argument("--compute", type=Path, nargs=2, metavar=("WORK", "FOUND"))
    parser.add_argument("--record", type=Path, nargs=2, metavar=("WORK", "FOUND"))
    parser.add_argument("--run", type=Path, help="the run directory of --record")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parse(parser, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        if args.smallest:
            args.plan, found = Path(folder) / "work.json", Path(folder) / "found.pickle"
            args.compute = args.record = (args.plan, found)
            args.run = Path(folder) / "run"
        if args.plan:
            args.plan.write_text(json.dumps(plan(smallest=args.smallest)))
        if args.compute:
            work, into = args.compute
            kept: list[Computed] = []
            for one in computed(json.loads(work.read_text()), args.device, 60 * args.minutes):
                kept.append(one)
                into.write_bytes(pickle.dumps(kept))
        if args.record:
            found = pickle.loads(args.record[1].read_bytes())
            rows = record(found, args.run, smallest=args.smallest)
            table(["column", "settled", "left"], rows)


if __name__ == "__main__":
    main()
