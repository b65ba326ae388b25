"""The phase transition of columns in words: numbers with their intervals, and what is undecided."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from orchestrator.analysis import PhaseRow
from orchestrator.cli.output import MOST_ROWS, print_table, shown

UNDECIDED = "undecided"

NONE = "none"
"""Of a column whose S does not bend."""

COUNTED = ("diverged", "short", "chaotic", "unconverged", "unmeasured")
"""Why GD runs are left out, in the order in which it is said."""


def print_phases(labels: Mapping[str, str], phases: Sequence[PhaseRow]) -> None:
    """Print a line per column and threshold, and below it what is undecided and why.

    ``labels`` name columns by their column_id, which stands for those that have none.
    """
    lines = [
        {
            "column": labels.get(row.column_id, row.column_id),
            "epsilon": row.epsilon,
            "eta_c": row.eta_c,
            "eta_c_fitted": NONE
            if row.transition is False
            else around(row.eta_c_fitted, row.eta_c_fitted_low, row.eta_c_fitted_high),
            "edge_exponent": around(
                row.edge_exponent, row.edge_exponent_low, row.edge_exponent_high
            ),
            "edge_ratio": around(row.edge_ratio, row.edge_ratio_low, row.edge_ratio_high),
            "flat_spread": row.flat_spread,
            "l1_rises": UNDECIDED if row.l1_rises is None else row.l1_rises,
            "best η/η_c": row.eta_best_over_eta_c,
            "u_shaped": UNDECIDED if row.u_shaped is None else row.u_shaped,
            "n_gd": row.n_gd,
            "left out": left_out(row),
        }
        for row in phases[:MOST_ROWS]
    ]
    names = list(lines[0]) if lines else []
    print_table(lines, names, total=len(phases))
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


def left_out(row: PhaseRow) -> str:
    """How many GD runs do not count, by reason, such as ``2 diverged, 1 chaotic``."""
    found = [(getattr(row, f"n_{name}"), name) for name in COUNTED]
    return ", ".join(f"{n} {name}" for n, name in found if n) or "none"
