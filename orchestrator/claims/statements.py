"""Single statements about columns, each with the numbers that it rests on.

The verdict is by how many of the columns bear a statement out that have data enough to decide it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from jobs.diagonal import sharpness
from jobs.spec.dataset_name import parse
from orchestrator.analysis.bounds import (
    ABOVE,
    BELOW,
    DEEP_ENOUGH,
    EDGE,
    FLAT,
    LEAST_FOR_VALLEY,
    SAME_NORM,
    SAME_SHARPNESS,
)
from orchestrator.analysis.statements import kink_is_predicted
from orchestrator.claims.evidence import At, Evidence
from orchestrator.claims.finding import (
    Finding,
    as_numbers,
    judged,
    over_every,
    over_last,
    tallied,
    undecided,
)
from orchestrator.claims.line import line_through


def flat(evidence: Evidence) -> Finding:
    """Below η_c the final sharpness does not depend on η."""
    return over_every(evidence, lambda at: at.phase.flat_spread, 0, FLAT, "spread of S")


def edge(evidence: Evidence) -> Finding:
    """Above η_c the final sharpness is 2/η."""
    return over_every(evidence, lambda at: at.phase.edge_ratio, *EDGE, "median S·η/2")


def kink(evidence: Evidence) -> Finding:
    """Sharpness bends at 2/s_gf."""

    rows = [at.phase for at in evidence.every]
    predicted = as_numbers(row.eta_c for row in rows)
    fitted, low, high = (
        as_numbers(getattr(row, name) for row in rows) / predicted
        for name in ("eta_c_fitted", "eta_c_fitted_low", "eta_c_fitted_high")
    )
    bends = as_numbers(row.transition for row in rows)
    right = kink_is_predicted(fitted, low, high, bends)
    return judged(fitted, right, "η_c fitted over predicted")


def flow_sharpness(evidence: Evidence) -> Finding:
    """Below η_c the final sharpness is the flow's."""
    what = "relative difference of S from the flow's"
    return over_every(evidence, _furthest_from_flow("sharpness"), 0, SAME_SHARPNESS, what)


def norm_flat(evidence: Evidence) -> Finding:
    """Below η_c the final ℓ1 norm is the flow's."""
    what = "relative difference of ℓ1 from the flow's"
    return over_every(evidence, _furthest_from_flow("l1_norm"), 0, SAME_NORM, what)


def _furthest_from_flow(name: str) -> Callable[[At], float | None]:
    """The largest relative difference of a value below η_c from the flow's."""

    def furthest(at: At) -> float | None:
        if at.flow is None or not at.flow[name]:
            return None
        below = [row for row in at.gd if (row["eta_over_eta_c"] or math.inf) < BELOW]
        return max((abs(row[name] / at.flow[name] - 1) for row in below), default=None)

    return furthest


def norm_rises(evidence: Evidence) -> Finding:
    """Above η_c the final ℓ1 norm grows with η."""
    rows = [at.phase for at in evidence.every]
    slopes, rises = as_numbers(r.l1_slope for r in rows), as_numbers(r.l1_rises for r in rows)
    return judged(slopes, rises, "slope of ℓ1 above η_c")


def middle_norm_rises(evidence: Evidence) -> Finding:
    """Above η_c the ℓ1 norm of the mean of the last two iterates grows with η, too."""

    def slope(at: At) -> float | None:
        points = [(x, y) for x, y in at.measured("l1_norm", "mid") if x > 1]
        line = line_through([x for x, _ in points], [y for _, y in points]) if points else None
        return None if line is None else line.slope

    return over_last(evidence, slope, 1e-12, math.inf, "slope of that norm on η/η_c")


def valley(evidence: Evidence) -> Finding:
    """The best test loss lies between the smallest and the largest η."""
    return _valleys(evidence, wanted=True)


def no_valley(evidence: Evidence) -> Finding:
    """The best test loss lies at an end of the learning rates."""
    return _valleys(evidence, wanted=False)


def _valleys(evidence: Evidence, *, wanted: bool) -> Finding:
    columns = evidence.last()
    shown = [at.phase for at in columns if at is not None and at.phase.u_shaped is not None]
    if not shown:
        return undecided("no column and its other seeds tell a valley from scatter")
    best = ", ".join(
        f"{phase.eta_best_over_eta_c:.3g} η_c" for phase in shown if phase.eta_best_over_eta_c
    )
    right = sum(phase.u_shaped is wanted for phase in shown)
    return tallied(right, len(shown), len(columns), f"best at {best}")


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

        return over_last(evidence, ratio, 0, 0.95, f"{name} at the largest η over that below")

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

    return over_last(
        evidence, share, 0.01, math.inf, "largest share of the way from θ0 that it is apart"
    )


def best_at_the_truth(evidence: Evidence) -> Finding:
    """The risk is least where the edge 2/η goes through the sharpness of the truth."""
    columns = evidence.last()
    ratios: list[float] = []
    for at in columns:
        if at is None:
            continue
        wanted = _edge_of_truth(at)
        losses = [(row["test_loss"], row["eta"]) for row in at.gd if row["test_loss"] is not None]
        if wanted is not None and len(losses) > 3:
            ratios.append(min(losses)[1] / wanted)
    if not ratios:
        return undecided("too few learning rates were settled")
    numbers = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    right = sum(0.9 <= ratio <= 1.1 for ratio in ratios)
    return tallied(right, len(ratios), len(columns), f"best η over 2/S(β*): {numbers}")


def _edge_of_truth(at: At) -> float | None:
    """η* = 2/S(β*) of a diagonal network."""
    options = parse(at.column.problem.dataset).options
    if "x" not in options or "truth" not in options:
        return None
    return 2 / float(sharpness(np.atleast_2d(options["x"]), options["truth"]))


def neither_is_best(evidence: Evidence) -> Finding:
    """Neither the run of least ℓ1 norm nor that of least sharpness has the least risk."""

    def share(at: At) -> float | None:
        runs = [row for row in at.gd if None not in (row["test_loss"], row["l1_norm"])]
        if len(runs) < LEAST_FOR_VALLEY:
            return None
        ends = [min(runs, key=lambda row: row[name]) for name in ("l1_norm", "sharpness")]
        lower = min(row["test_loss"] for row in ends)
        return float(min(row["test_loss"] for row in runs) / lower) if lower else 1.0

    what = "least risk over the lower one of those at the least norm and the least S"
    return over_last(evidence, share, 0, 1 / (1 + DEEP_ENOUGH), what)


def sharpness_fades(evidence: Evidence) -> Finding:
    """Along the flow, sharpness falls from its maximum before the threshold is reached."""

    def share(at: At) -> float | None:
        if at.flow is None or not at.flow["max_sharpness"] or at.flow["sharpness"] is None:
            return None
        return float(at.flow["sharpness"] / at.flow["max_sharpness"])

    return over_last(evidence, share, 0, 0.9, "S at the threshold over its maximum")


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
