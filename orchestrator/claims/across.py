"""Statements that compare columns with each other, or what one run shows at several thresholds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from orchestrator.analysis.bounds import (
    LEAST_EXPLAINED,
    LEAST_RANGE,
    PROPORTIONAL,
    SAME_WIDTHS,
)
from orchestrator.analysis.groups import aliases
from orchestrator.analysis.verdict import verdict
from orchestrator.claims.evidence import At, Evidence
from orchestrator.claims.finding import Finding, tallied, undecided
from orchestrator.claims.line import line_through


def kink_follows_prediction(evidence: Evidence) -> Finding:
    """Over all columns, the fitted η_c is proportional to 2/s_gf: slope 1 in logarithms."""
    pairs = [
        (math.log(at.phase.eta_c), math.log(at.phase.eta_c_fitted))
        for at in evidence.every
        if at.phase.eta_c and at.phase.eta_c_fitted
    ]
    if len(pairs) < 4 or max(x for x, _ in pairs) - min(x for x, _ in pairs) < math.log(
        LEAST_RANGE
    ):
        return undecided("the columns' η_c differ too little")
    line = line_through([x for x, _ in pairs], [y for _, y in pairs])
    if line is None:
        return undecided("no line")
    left = len(evidence.every) - len(pairs)
    right = PROPORTIONAL[0] <= line.slope <= PROPORTIONAL[1] and (line.r2 or 0) >= LEAST_EXPLAINED
    return Finding(
        verdict(int(right), 1),
        f"slope {line.slope:.3f}, r² {line.r2 or 0:.3f} over {len(pairs)} columns and thresholds"
        + (f", {left} undecided" if left else ""),
    )


def stops_early(evidence: Evidence) -> Finding:
    """The threshold acts like early stopping: the same GD has a smaller ℓ1 norm at a looser one.

    Each run is asked between neighbouring thresholds that it did not cross in one step.
    """
    columns: dict[str, dict[str, list[tuple[float, int, float]]]] = {}
    for at in evidence.every:
        runs = columns.setdefault(at.phase.column_id, {})
        for row in at.gd:
            crossing = at.phase.epsilon, row["steps"], row["l1_norm"]
            runs.setdefault(row["trial_id"], []).append(crossing)
    least = [
        min(grown)
        for runs in columns.values()
        if (grown := [ratio for crossings in runs.values() for ratio in _growth(crossings)])
    ]
    if not least:
        return undecided("no run crossed two thresholds")
    right = sum(ratio > 1 for ratio in least)
    found = f"least ℓ1 over that at the next looser ε {min(least):.4g} to {max(least):.4g}"
    return tallied(right, len(least), len(columns), found)


def _growth(crossings: list[tuple[float, int, float]]) -> list[float]:
    """How the norm of one run grows from a threshold to the next smaller one."""
    pairs = itertools.pairwise(sorted(crossings, reverse=True))
    return [after[2] / before[2] for before, after in pairs if after[1] > before[1]]


def more_samples_smaller_rate(evidence: Evidence) -> Finding:
    """More samples give a larger s_gf, and so a smaller η_c."""
    return _trend(evidence, "n_train", falling=True, what="η_c at the most over the fewest samples")


def _trend(evidence: Evidence, field: str, *, falling: bool, what: str) -> Finding:
    ratios = []
    groups, lost = _groups(evidence, field)
    for group in groups:
        ends = group[0].phase.eta_c, group[-1].phase.eta_c
        if len(group) > 1 and ends[0] and ends[1]:
            ratios.append(ends[1] / ends[0])
    if not ratios:
        return undecided(f"no two columns differ in {field} alone")
    right = sum((ratio < 1) == falling for ratio in ratios)
    found = f"{what} {min(ratios):.3g} to {max(ratios):.3g}"
    return tallied(right, len(ratios), len(groups), found, _without(lost))


def same_for_all_widths(evidence: Evidence) -> Finding:
    """s_gf does not depend on the width."""
    return _widths(evidence, lambda ratio: ratio <= SAME_WIDTHS)


def widths_differ(evidence: Evidence) -> Finding:
    """s_gf depends on the width."""
    return _widths(evidence, lambda ratio: ratio > SAME_WIDTHS)


def _widths(evidence: Evidence, wanted: Callable[[float], bool]) -> Finding:
    ratios = []
    groups, lost = _groups(evidence, "width")
    for group in groups:
        rates = [at.phase.eta_c for at in group if at.phase.eta_c]
        lost += len(group) - len(rates)
        if len(rates) > 1:
            ratios.append(max(rates) / min(rates))
    if not ratios:
        return undecided("no two widths were settled")
    right = sum(map(wanted, ratios))
    found = ", ".join(f"{ratio:.3g}" for ratio in ratios)
    found = f"largest over smallest s_gf of the widths {found}"
    return tallied(right, len(ratios), len(groups), found, _without(lost))


def _groups(evidence: Evidence, field: str) -> tuple[list[list[At]], int]:
    """Columns at their smallest threshold that differ in one field alone, by its value.

    A column that stands among others under another name is in their group, too.

    With the number of columns that are in none, because their flow reached no threshold.
    """
    groups: dict[tuple[object, ...], list[At]] = {}
    columns = evidence.last()
    settled = [at for at in columns if at is not None]
    rows = [vars(at.column.problem) for at in settled]
    elsewhere = list(aliases(rows, field))
    others = [(settled[place], row) for place, row in elsewhere]
    counted = {settled[place].column.column_id for place, _ in elsewhere}
    for at, row in (*zip(settled, rows, strict=True), *others):
        if row[field] is not None:
            alike = (row[name] for name in row if name != field)
            groups.setdefault((at.phase.epsilon, *alike), []).append(at)
    by_value = [
        sorted(group, key=lambda at: float(getattr(at.column.problem, field)))
        for group in groups.values()
        if len(group) > 1 or group[0].column.column_id not in counted
    ]
    return by_value, len(columns) - len(settled)


def _without(lost: int) -> str:
    return f", without {lost} {'column' if lost == 1 else 'columns'}" if lost else ""
