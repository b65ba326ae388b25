"""Results in words: the trials by η, the phase transition of columns, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.spec import GD, Optimizer
from orchestrator.analysis import PhaseRow, analyze
from orchestrator.cli.output import MOST_ROWS, command, print_json, print_table, shown
from orchestrator.engine import RunOutcome
from orchestrator.store import Store
from orchestrator.sweep import Column, Sweep
from orchestrator.sweep.labels import column_labels

MOST_COLUMNS = 3
"""Up to this number of columns, every η is shown; of more, one line each."""

COLUMNS = ("η/η_c", "status", "steps", "S", "2/η", "S·η/2", "ℓ1", "test loss")
COLUMNS_OF_OTHERS = ("η", "η/η_c", "status", "steps", "S", "χ", "ℓ1", "test loss")
"""Of other optimisers than GD, whose S is that of the preconditioned Hessian."""

UNDECIDED = "undecided"

COUNTED = ("diverged", "short", "chance_crossing", "unconverged", "unmeasured")
"""Why GD trials are left out, in the order in which it is said."""


def print_end(run: Path, outcome: RunOutcome) -> None:
    """Print how a run ended in a SLURM job and what to do next, and nothing of its numbers."""
    # Who reads it does so where nothing may be computed.
    _print_end(run, outcome, pictures=[], where=" --cluster FILE", in_job=True)


def print_summary(
    run: Path, sweep: Sweep, outcome: RunOutcome, *, json: bool, where: str = ""
) -> None:
    """Analyse what is there, draw it if it is little, and print it.

    ``where`` is what ``eos resume`` needs besides to compute there too.
    """
    rows = Store(run).rows("trials")
    phases = analyze(run).phases if rows else []
    by_column: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_column[row["column_id"]].append(row)
    columns = [column for column in sweep.columns if column.column_id in by_column]
    if json:
        content = {
            "run": str(run),
            **outcome.content,
            "trials": [row for column in columns for row in by_column[column.column_id]],
        }
        print_json(content)
        return
    names = column_labels(sweep.columns)
    labels = {column.column_id: names[column.column_id] for column in columns}
    for column in columns[:MOST_COLUMNS]:
        flow = column.flow().trial_id  # which another column may have computed
        shown_rows = [row for row in rows if row["trial_id"] == flow]
        shown_rows += [row for row in by_column[column.column_id] if row["trial_id"] != flow]
        print_column(column, labels[column.column_id], shown_rows)
    its = [phase for phase in phases if phase.column_id in labels]
    if its:
        hidden = {"ℓ1 rises", "GD trials", "left out", *(["column"] if len(labels) == 1 else [])}
        title = "The phase transition: predicted and fitted"
        print_phases(labels, its, title=title, hidden=hidden)
    pictures: list[Path] = []
    if outcome.settled and len(columns) <= MOST_COLUMNS:
        # Matplotlib takes a second to import, which only the end of a run needs.
        from orchestrator.report import draw_figures

        pictures = draw_figures(run, names=["transition"], formats=["png"])
    _print_end(run, outcome, pictures, where, seeds=further_seeds(sweep))


def print_column(column: Column, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print its trials at the smallest ε, by η."""
    epsilon = column.protocol.epsilons[-1]
    last = sorted(
        (row for row in rows if row["epsilon"] == epsilon), key=lambda row: row["eta"] or 0.0
    )
    title = f"{label} · at training loss {epsilon:g}"
    columns = COLUMNS if column.optimizer == GD else COLUMNS_OF_OTHERS
    print_table([_line(row, column.optimizer) for row in last], columns, title=title)


def _line(row: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """One trial in the summary's columns."""
    eta, plain = row["eta"], row["eta"] is None or optimizer == GD
    sharpness = row["sharpness" if plain else "preconditioned_sharpness"]
    known = eta is not None and sharpness is not None
    chi = _fixed(optimizer.chi(eta, sharpness) if known else None, 3)
    return {
        "η": shown(eta),
        "η/η_c": "flow" if eta is None else shown(row["eta_over_eta_c"]),
        "status": row["status"],
        "steps": row["steps"],
        "S": _fixed(sharpness, 2),
        "2/η": _fixed(None if eta is None else 2 / eta, 2),
        "S·η/2": chi,
        "χ": chi,
        "ℓ1": _fixed(row["l1_norm"] if row["status"] != "diverged" else None, 1),
        "test loss": _fixed(row["test_loss"] if row["status"] != "diverged" else None, 4),
    }


def _fixed(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _print_end(
    run: Path,
    outcome: RunOutcome,
    pictures: list[Path],
    where: str,
    *,
    seeds: Sequence[int] = (),
    in_job: bool = False,
) -> None:
    trials = outcome.snapshot.trials
    blocked = f", {trials.blocked} blocked" if trials.blocked else ""
    print(f"{trials.settled} of {trials.wanted} trials settled, {trials.failed} failed{blocked}")
    for column_id, reason in outcome.blocked:
        print(f"column {column_id}: {reason}")
    for path in pictures:
        print(f"picture  {path}")
    tables = ["trials", "trajectories", "attempts"]
    tables += ["measures"] if any((run / "measures").glob("*.parquet")) else []
    tables += ["analysis"] if (run / "analysis").is_dir() else []
    print("tables   " + "  ".join(shlex.quote(f"{run}/{table}") for table in tables))
    if outcome.interrupted or outcome.halted:
        unless = ", unless the job goes back into the queue," if in_job else ""
        print(f"stopped before its end; go on{unless} with\n  {command('resume', run, more=where)}")
    elif outcome.failed:
        print("see what failed, and try it again, with")
        print(f"  {command('why', run)}\n  {command('resume', run, '--failed', more=where)}")
    else:
        sql = (
            "SELECT eta_over_eta_c, epsilon, sharpness, test_loss FROM trials "
            "WHERE kind = 'gd' ORDER BY eta"
        )
        print("next\n  " + command("query", run, more=f' "{sql}"'))
        if seeds:
            more = f" problem.seed=[{','.join(map(str, seeds))}]"
            print("  " + command("run", run / "sweep.yaml", "--run-dir", run, more=more))
        print("  " + command("status", run))


def further_seeds(sweep: Sweep) -> list[int]:
    """Two seeds that the sweep lacks; none where nothing is drawn from one, or they are zipped."""
    if any("seed" in group for grid in sweep.grids for group in grid.zipped):
        return []
    drawn = [c.problem.seed for c in sweep.columns if c.problem.seed is not None]
    last = max(drawn, default=None)
    return [] if last is None or last + 2 >= 2**63 else [last + 1, last + 2]


def print_phases(
    labels: Mapping[str, str],
    phases: Sequence[PhaseRow],
    *,
    title: str | None = None,
    hidden: Collection[str] = (),
) -> None:
    """Print a line per column and threshold, and below it what is undecided and why.

    ``labels`` name columns by their column_id, which stands for those that have none; columns of
    the table that are ``hidden`` are left out.
    """
    lines = [
        {
            "column": labels.get(row.column_id, row.column_id),
            "ε": row.epsilon,
            "η_c = 2/s_gf": row.eta_c,
            "η_c fitted": "none" if row.transition is False else _around(row, "eta_c_fitted"),
            "S·η/2 above": _around(row, "edge_ratio"),
            "slope above": _around(row, "edge_exponent"),
            "S spread below": row.flat_spread,
            "ℓ1 rises": UNDECIDED if row.l1_rises is None else row.l1_rises,
            "best η/η_c": row.eta_best_over_eta_c,
            "U-shaped": UNDECIDED if row.u_shaped is None else row.u_shaped,
            "GD trials": row.n_gd,
            "left out": left_out(row),
        }
        for row in phases[:MOST_ROWS]
    ]
    names = [name for name in (lines[0] if lines else ()) if name not in hidden]
    print_table(lines, names, title=title, total=len(phases))
    print_undecided(labels, phases)


def print_undecided(labels: Mapping[str, str], phases: Sequence[PhaseRow]) -> None:
    """Say what is not known and why: a line for each thing, with the most frequent reason.

    ``labels`` name columns by their column_id, which stands for those that have none.
    """
    places: dict[str, list[PhaseRow]] = defaultdict(list)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for row in phases:
        for reason in row.undecided.split("; ") if row.undecided else ():
            what = reason.partition(": ")[0]
            places[what].append(row)
            reasons[what][reason] += 1
    for what, rows in places.items():
        ((reason, _),) = reasons[what].most_common(1)
        others = " and other reasons" if len(reasons[what]) > 1 else ""
        print(f"{UNDECIDED}: {reason}{others} ({_where(labels, rows, len(phases))})")


def _where(labels: Mapping[str, str], rows: Sequence[PhaseRow], n: int) -> str:
    if len(rows) > 1 or n == 1:
        return f"{len(rows)} of {n} columns and thresholds"
    return f"{labels.get(rows[0].column_id, rows[0].column_id)}, ε = {rows[0].epsilon:g}"


def around(value: float | None, low: float | None, high: float | None) -> str:
    """A number with half the width of its 95 % interval, relative to it.

    >>> around(0.0408, 0.0397, 0.0419), around(2.0, None, None), around(None, None, None)
    ('0.0408 ± 2.7 %', '2', 'undecided')
    >>> around(0.1734, 0.0019, 15.6)
    '0.1734 ± over 100 %'
    """
    if value is None:
        return UNDECIDED
    if low is None or high is None or value == 0:
        return shown(value)
    percent = 50 * (high - low) / abs(value)
    return f"{shown(value)} ± {f'{percent:.2g}' if percent <= 100 else 'over 100'} %"


def _around(row: PhaseRow, name: str) -> str:
    low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    return around(getattr(row, name), low, high)


def left_out(row: PhaseRow) -> str:
    """How many GD trials do not count, by reason, such as ``2 diverged, 1 chance crossing``."""
    found = [(getattr(row, f"n_{name}"), name) for name in COUNTED]
    return ", ".join(f"{n} {name.replace('_', ' ')}" for n, name in found if n) or "none"
