"""Single statements about columns, each with the numbers that it rests on.

A statement about several columns holds if it holds in each that has data enough to decide it.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.diagonal.points import sharpness
from jobs.spec.dataset_name import parse
from orchestrator.analysis.line import line_through
from orchestrator.analysis.phase import ABOVE, BELOW
from orchestrator.claims.evidence import At, Evidence

FLAT = 0.05
"""Relative range of S below η_c that still is flat."""
EDGE = (0.9, 1.15)
"""Of the median S·η/2 above η_c: theory has 1, and a loose threshold stops up to 15 % above it."""
KINK = (0.8, 1.35)
"""Of the fitted η_c over the predicted one."""
SAME_NORM = 0.02
"""Relative difference of ℓ1 norms below η_c from the flow's that still is none."""
SAME_WIDTHS = 1.25
"""Largest over smallest s_gf of several widths that still is independence of the width."""


@dataclass(frozen=True)
class Finding:
    """Whether a statement holds, None where the data do not decide, and the numbers."""

    holds: bool | None
    numbers: str


def _over(
    places: Iterable[At], value: Callable[[At], float | None], low: float, high: float, what: str
) -> Finding:
    """Whether a number lies within bounds wherever it is known."""
    found = [number for place in places if (number := value(place)) is not None]
    if not found:
        return Finding(None, f"no column has enough data for {what}")
    right = sum(low <= number <= high for number in found)
    spread = f"{min(found):.4g} to {max(found):.4g}" if len(found) > 1 else f"{found[0]:.4g}"
    return Finding(right == len(found), f"{what} {spread}; right in {right} of {len(found)}")


def flat(evidence: Evidence) -> Finding:
    """Below η_c the final sharpness does not depend on η."""
    return _over(evidence.every, lambda at: at.phase.flat_spread, 0, FLAT, "spread of S")


def edge(evidence: Evidence) -> Finding:
    """Above η_c the final sharpness is 2/η."""
    return _over(evidence.every, lambda at: at.phase.edge_ratio, *EDGE, "median S·η/2")


def kink(evidence: Evidence) -> Finding:
    """Sharpness bends at 2/s_gf."""

    def ratio(at: At) -> float | None:
        fitted, predicted = at.phase.eta_c_fitted, at.phase.eta_c
        return fitted / predicted if fitted and predicted else None

    return _over(evidence.every, ratio, *KINK, "η_c fitted over predicted")


def norm_flat(evidence: Evidence) -> Finding:
    """Below η_c the final ℓ1 norm is the flow's."""

    def worst(at: At) -> float | None:
        if at.flow is None or not at.flow["l1_norm"]:
            return None
        below = [row for row in at.gd if (row["eta_over_eta_c"] or math.inf) < BELOW]
        return max((abs(r["l1_norm"] / at.flow["l1_norm"] - 1) for r in below), default=None)

    return _over(evidence.every, worst, 0, SAME_NORM, "relative difference of ℓ1 from the flow's")


def norm_rises(evidence: Evidence) -> Finding:
    """Above η_c the final ℓ1 norm grows with η."""
    return _over(
        evidence.every, lambda at: at.phase.l1_slope, 1e-12, math.inf, "slope of ℓ1 above η_c"
    )


def middle_norm_rises(evidence: Evidence) -> Finding:
    """Above η_c the ℓ1 norm of the mean of the last two iterates grows with η, too."""

    def slope(at: At) -> float | None:
        points = [(x, y) for x, y in at.measured("l1_norm", "mid") if x > 1]
        line = line_through([x for x, _ in points], [y for _, y in points]) if points else None
        return None if line is None else line.slope

    return _over(evidence.last(), slope, 1e-12, math.inf, "slope of that norm on η/η_c")


def valley(evidence: Evidence) -> Finding:
    """The best test loss lies between the smallest and the largest η."""
    return _valleys(evidence, wanted=True)


def no_valley(evidence: Evidence) -> Finding:
    """The best test loss lies at an end of the learning rates."""
    return _valleys(evidence, wanted=False)


def _valleys(evidence: Evidence, *, wanted: bool) -> Finding:
    shown = [at.phase for at in evidence.last() if at.phase.u_shaped is not None]
    if not shown:
        return Finding(None, "too few learning rates were settled")
    best = ", ".join(
        f"{phase.eta_best_over_eta_c:.3g} η_c" for phase in shown if phase.eta_best_over_eta_c
    )
    right = sum(phase.u_shaped is wanted for phase in shown)
    return Finding(right == len(shown), f"best at {best}; right in {right} of {len(shown)}")


def kink_follows_prediction(evidence: Evidence) -> Finding:
    """Over all columns, the fitted η_c is proportional to 2/s_gf: slope 1 in logarithms."""
    pairs = [
        (math.log(at.phase.eta_c), math.log(at.phase.eta_c_fitted))
        for at in evidence.every
        if at.phase.eta_c and at.phase.eta_c_fitted
    ]
    if len(pairs) < 4 or max(x for x, _ in pairs) - min(x for x, _ in pairs) < math.log(1.5):
        return Finding(None, "the columns' η_c differ too little")
    line = line_through([x for x, _ in pairs], [y for _, y in pairs])
    if line is None:
        return Finding(None, "no line")
    return Finding(
        0.85 <= line.slope <= 1.15 and (line.r2 or 0) >= 0.9,
        f"slope {line.slope:.3f}, r² {line.r2 or 0:.3f} over {len(pairs)} columns and thresholds",
    )


def smaller_threshold_smaller_rate(evidence: Evidence) -> Finding:
    """η_c does not grow when the threshold falls."""
    by_column: dict[str, list[tuple[float, float]]] = {}
    for at in evidence.every:
        if at.phase.eta_c:
            by_column.setdefault(at.phase.column_id, []).append((at.phase.epsilon, at.phase.eta_c))
    series = [sorted(points) for points in by_column.values() if len(points) > 1]
    if not series:
        return Finding(None, "no column reached two thresholds")
    falls = [points[-1][1] / points[0][1] for points in series]
    right = sum(
        all(a[1] <= b[1] * (1 + 1e-9) for a, b in itertools.pairwise(points)) for points in series
    )
    return Finding(
        right == len(series),
        f"η_c at the largest over that at the smallest ε: {min(falls):.3g} to {max(falls):.3g}",
    )


def more_samples_smaller_rate(evidence: Evidence) -> Finding:
    """More samples give a larger s_gf, and so a smaller η_c."""
    return _trend(evidence, "n_train", falling=True, what="η_c at the most over the fewest samples")


def _trend(evidence: Evidence, field: str, *, falling: bool, what: str) -> Finding:
    ratios = []
    for group in _groups(evidence, field):
        ends = group[0].phase.eta_c, group[-1].phase.eta_c
        if len(group) > 1 and ends[0] and ends[1]:
            ratios.append(ends[1] / ends[0])
    if not ratios:
        return Finding(None, f"no two columns differ in {field} alone")
    right = sum((ratio < 1) == falling for ratio in ratios)
    return Finding(
        right == len(ratios),
        f"{what} {min(ratios):.3g} to {max(ratios):.3g}; right in {right} of {len(ratios)}",
    )


def same_for_all_widths(evidence: Evidence) -> Finding:
    """s_gf does not depend on the width."""
    ratios = _width_ratios(evidence)
    if not ratios:
        return Finding(None, "no two widths were settled")
    numbers = f"largest over smallest s_gf of the widths {max(ratios):.3g}"
    return Finding(max(ratios) <= SAME_WIDTHS, numbers)


def widths_differ(evidence: Evidence) -> Finding:
    """s_gf depends on the width."""
    ratios = _width_ratios(evidence)
    if not ratios:
        return Finding(None, "no two widths were settled")
    numbers = f"largest over smallest s_gf of the widths {min(ratios):.3g}"
    return Finding(min(ratios) > SAME_WIDTHS, numbers)


def _width_ratios(evidence: Evidence) -> list[float]:
    ratios = []
    for group in _groups(evidence, "width"):
        rates = [at.phase.eta_c for at in group if at.phase.eta_c]
        if len(rates) > 1:
            ratios.append(max(rates) / min(rates))
    return ratios


def _groups(evidence: Evidence, field: str) -> list[list[At]]:
    """Columns at their smallest threshold that differ in one field alone, by its value."""
    groups: dict[tuple[object, ...], list[At]] = {}
    for at in evidence.last():
        problem = {k: v for k, v in vars(at.column.problem).items() if k != field}
        groups.setdefault((at.phase.epsilon, *problem.values()), []).append(at)
    return [
        sorted(group, key=lambda at: float(getattr(at.column.problem, field)))
        for group in groups.values()
    ]


def falls_above(name: str) -> Callable[[Evidence], Finding]:
    """A further measure is smaller above η_c than below it."""

    def statement(evidence: Evidence) -> Finding:
        def ratio(at: At) -> float | None:
            points = at.measured(name)
            below = [y for x, y in points if x < BELOW]
            above = [y for x, y in points if x > ABOVE]
            if not below or not above:
                return None
            return above[-1] / statistics.median(below)

        return _over(evidence.last(), ratio, 0, 0.95, f"{name} at the largest η over that below")

    return statement


def apart_from_flow(evidence: Evidence) -> Finding:
    """Below η_c GD ends at a distance from the flow at equal time that is not negligible."""

    def share(at: At) -> float | None:
        shares = [
            row["distance_from_flow"] / row["distance_from_init"]
            for row in at.gd
            if row["distance_from_flow"] is not None
            and row["distance_from_init"]
            and (row["eta_over_eta_c"] or math.inf) < 1
        ]
        return max(shares, default=None)

    return _over(
        evidence.last(), share, 0.01, math.inf, "largest share of the way from θ0 that it is apart"
    )


def best_at_the_truth(evidence: Evidence) -> Finding:
    """The risk is least where the edge 2/η goes through the sharpness of the truth."""
    ratios: list[float] = []
    for at in evidence.last():
        wanted = _edge_of_truth(at)
        losses = [(row["test_loss"], row["eta"]) for row in at.gd if row["test_loss"] is not None]
        if wanted is not None and len(losses) > 3:
            ratios.append(min(losses)[1] / wanted)
    if not ratios:
        return Finding(None, "too few learning rates were settled")
    numbers = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    return Finding(all(0.9 <= r <= 1.1 for r in ratios), f"best η over 2/S(β*): {numbers}")


def _edge_of_truth(at: At) -> float | None:
    """η* = 2/S(β*) of a diagonal network."""
    options = parse(at.column.problem.dataset).options
    if "x" not in options or "truth" not in options:
        return None
    return 2 / float(sharpness(np.atleast_2d(options["x"]), options["truth"]))


def sharpness_fades(evidence: Evidence) -> Finding:
    """Along the flow, sharpness falls from its maximum before the threshold is reached."""

    def share(at: At) -> float | None:
        if at.flow is None or not at.flow["max_sharpness"] or at.flow["sharpness"] is None:
            return None
        return float(at.flow["sharpness"] / at.flow["max_sharpness"])

    return _over(evidence.last(), share, 0, 0.9, "S at the threshold over its maximum")


def chosen(
    statement: Callable[[Evidence], Finding], **fields: object
) -> Callable[[Evidence], Finding]:
    """A statement about those columns alone whose problem has these values."""

    def about(evidence: Evidence) -> Finding:
        kept: Sequence[At] = [
            at
            for at in evidence.every
            if all(getattr(at.column.problem, name) == value for name, value in fields.items())
        ]
        return statement(Evidence(tuple(kept)))

    about.__doc__ = statement.__doc__
    return about
