"""Statements that any sweep can be asked, each with its verdict and the numbers it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.bounds import (
    EDGE,
    FLAT,
    KINK,
    LEAST_EXPLAINED,
    LEAST_RANGE,
    PROPORTIONAL,
    SAME_NORM,
    SAME_WIDTHS,
)
from orchestrator.analysis.grouped import Numbers, numbers
from orchestrator.analysis.trends import UNDECIDED
from orchestrator.analysis.verdict import share_in_words, share_interval, verdict
from orchestrator.store import FINDINGS

CHANGES = {
    "depth": "with the depth",
    "epsilon": "with the loss threshold ε",
    "init_scale": "with the scale of the initialisation",
    "activation": "with the activation",
    "loss": "with the loss",
    "architecture": "with the architecture",
    "dataset": "with the dataset",
    "parameterization": "with the parameterization",
}
"""The fields of which it is asked whether s_gf changes with them."""


@dataclass(frozen=True)
class _Asked:
    """A statement, and what was found at each place: NaN where a place does not decide.

    ``right`` says at which places it is right where that is more than lying within the bounds.
    """

    statement_id: str
    statement: str
    what: str
    values: Numbers
    low: float | None
    high: float | None
    right: Numbers | None = None
    where: str = "columns and thresholds"
    besides: str = ""


def findings_table(
    phase: pa.Table, trends: pa.Table, agreement: pa.Table, valleys: pa.Table
) -> pa.Table:
    """A row per statement, as in :data:`orchestrator.store.FINDINGS`.

    Its verdict is by :func:`orchestrator.analysis.verdict.verdict`.
    """
    asked = [*_of_phase(phase), _valley(valleys), *_of_trends(trends, phase)]
    rows = [_judged(one) for one in asked]
    rows.insert(3, _proportional(agreement))
    return pa.Table.from_pylist(rows, schema=FINDINGS)


def _of_phase(phase: pa.Table) -> Iterator[_Asked]:
    eta_c = numbers(phase["eta_c"])
    yield _Asked(
        "flat_below",
        f"Below η_c the final sharpness varies by less than {100 * FLAT:g} %.",
        "relative range of S",
        numbers(phase["flat_spread"]),
        0.0,
        FLAT,
    )
    yield _Asked(
        "edge_above",
        "Above η_c the final sharpness is 2/η.",
        "median S·η/2",
        numbers(phase["edge_ratio"]),
        *EDGE,
        besides=_within(phase, "edge_exponent", np.full(len(phase), -1.0), "The exponent −1"),
    )
    ratio = numbers(phase["eta_c_fitted"]) / eta_c
    bends = numbers(phase["transition"])
    low, high = (numbers(phase[f"eta_c_fitted_{end}"]) / eta_c for end in ("low", "high"))
    yield _Asked(
        "kink",
        "The sharpness bends at 2/s_gf.",
        "η_c fitted over predicted",
        ratio,
        *KINK,
        kink_is_predicted(ratio, low, high, bends),
        besides=_within(phase, "eta_c_fitted", eta_c, "2/s_gf"),
    )
    flow = numbers(phase["l1_flow"])
    yield _Asked(
        "norm_flat",
        "Below η_c the ℓ1 norm is that of the gradient flow.",
        "median ℓ1 below η_c relative to the flow's",
        numbers(phase["l1_flat"]) / flow,
        1 - SAME_NORM,
        1 + SAME_NORM,
    )
    growth = numbers(phase["l1_slope"]) * eta_c / flow
    rises = numbers(phase["l1_rises"])
    yield _Asked(
        "norm_rises",
        "Above η_c the ℓ1 norm rises with η.",
        "rise per η_c relative to the flow's ℓ1",
        np.where(np.isfinite(rises), growth, np.nan),
        0.0,
        None,
        rises,
    )


def _valley(valleys: pa.Table) -> _Asked:
    """Over groups of columns that differ in their seed alone."""
    shaped = numbers(valleys["u_shaped"])
    best = numbers(valleys["eta_best_over_eta_c"])
    return _Asked(
        "valley",
        "The best test loss lies between the smallest and the largest η.",
        "best η/η_c",
        np.where(np.isfinite(shaped), best, np.nan),
        None,
        None,
        shaped,
        "problems and thresholds, over seeds",
    )


def _of_trends(trends: pa.Table, phase: pa.Table) -> Iterator[_Asked]:
    width = trends.filter(pc.equal(trends["field"], "width"))
    named = width["parameterization"].unique().to_pylist()
    for name in sorted(filter(None, named)) or [None]:
        of_name = width if name is None else width.filter(pc.equal(width["parameterization"], name))
        yield _Asked(
            "width" if name is None else f"width_{name}",
            "s_gf does not depend on the width."
            if name is None
            else f"Under {name} s_gf does not depend on the width.",
            "largest over smallest s_gf of the widths",
            numbers(of_name["s_gf_ratio"]),
            1.0,
            SAME_WIDTHS,
            where="groups of columns that differ in the width alone",
        )
    samples = trends.filter(pc.equal(trends["field"], "n_train"))
    yield _Asked(
        "samples",
        "s_gf grows with the number of samples.",
        "s_gf at the most over the fewest samples",
        numbers(samples["s_gf_change"]),
        SAME_WIDTHS,
        None,
        _verdicts(samples, "rises"),
        where="groups of columns that differ in the samples alone",
    )
    seeds = trends.filter(pc.equal(trends["field"], "seed"))
    yield _Asked(
        "seed",
        "s_gf does not depend on the seed.",
        "largest over smallest s_gf of the seeds",
        numbers(seeds["s_gf_ratio"]),
        1.0,
        SAME_WIDTHS,
        where="groups of columns that differ in the seed alone",
    )
    for field, with_it in CHANGES.items():
        found = trends.filter(pc.equal(trends["field"], field))
        yield _Asked(
            field,
            f"s_gf changes {with_it}.",
            "largest over smallest s_gf",
            numbers(found["s_gf_ratio"]),
            SAME_WIDTHS,
            None,
            where="columns at several thresholds"
            if field == "epsilon"
            else f"groups of columns that differ in the {field.replace('_', ' ')} alone",
        )


def _verdicts(trends: pa.Table, wanted: str) -> Numbers:
    """1 where the verdict is that one, 0 where it is another, NaN where it is open."""
    found = np.array(trends["verdict"].to_pylist(), dtype=object)
    return np.where(found == UNDECIDED, np.nan, np.asarray(found == wanted, dtype=float))


def _judged(asked: _Asked) -> dict[str, Any]:
    decided = np.isfinite(asked.values if asked.right is None else asked.right)
    values = asked.values[decided]
    if asked.right is None:
        low = -math.inf if asked.low is None else asked.low
        high = math.inf if asked.high is None else asked.high
        right = int(np.sum((values >= low) & (values <= high)))
    else:
        right = int(np.sum(asked.right[decided] > 0))
    n, undecided = int(decided.sum()), int(len(decided) - decided.sum())
    known = values[np.isfinite(values)]
    middle = [float(f(known)) if len(known) else None for f in (np.min, np.median, np.max)]
    return {
        "statement_id": asked.statement_id,
        "statement": asked.statement,
        "verdict": verdict(right, n),
        "n_holds": right,
        "n_decided": n,
        "n_undecided": undecided,
        **_shares(right, n),
        **dict(zip(("value_low", "value_median", "value_high"), middle, strict=True)),
        "wanted_low": asked.low,
        "wanted_high": asked.high,
        "numbers": _sentence(asked, right, n, undecided, middle),
    }


def _sentence(asked: _Asked, right: int, n: int, undecided: int, middle: list[float | None]) -> str:
    if not n:
        none = f"None of {undecided}" if undecided else "The run has no"
        return f"{none} {asked.where}{' decides' if undecided else ''}."
    low, median, high = middle
    spread = (
        ""
        if median is None
        else f", {asked.what} {median:.4g}"
        if n == 1
        else f", {asked.what} {low:.4g} to {high:.4g}, median {median:.4g}"
    )
    left = f"; {undecided} undecided" if undecided else ""
    found = f"Right in {right} of {n} {asked.where} ({share_in_words(right, n)}){spread}{left}."
    return f"{found} {asked.besides}".rstrip()


def _shares(right: int, n: int) -> dict[str, float | None]:
    low, high = share_interval(right, n) if n else (None, None)
    return {"share_low": low, "share_high": high}


def _proportional(agreement: pa.Table) -> dict[str, Any]:
    """The one statement about the sweep as a whole: the slope of fitted on predicted η_c is 1."""
    one = agreement.filter(pc.equal(agreement["scope_field"], "all")).to_pylist()[0]
    slope, r2 = one["slope"], one["r2"]
    known = slope is not None and r2 is not None
    low, high = (one["slope_low"], one["slope_high"]) if known else (-math.inf, math.inf)
    right = known and (
        (PROPORTIONAL[0] <= slope <= PROPORTIONAL[1] and r2 >= LEAST_EXPLAINED)
        or (PROPORTIONAL[0] <= low and high <= PROPORTIONAL[1])
    )
    # A wide interval, or a cloud without a line, refutes nothing.
    decided = right or low > PROPORTIONAL[1] or high < PROPORTIONAL[0]
    left = f", {one['n_undecided']} undecided" if one["n_undecided"] else ""
    return {
        "statement_id": "proportional",
        "statement": "Over all columns the fitted η_c is proportional to the predicted one.",
        "verdict": verdict(int(right), int(decided)),
        "n_holds": int(right),
        "n_decided": int(decided),
        "n_undecided": int(not decided),
        **_shares(int(right), int(decided)),
        "value_low": one["slope_low"],
        "value_median": slope,
        "value_high": one["slope_high"],
        "wanted_low": PROPORTIONAL[0],
        "wanted_high": PROPORTIONAL[1],
        "numbers": (
            f"Slope of log η_c fitted on predicted {slope:.3f} ({one['slope_low']:.3f} to "
            f"{one['slope_high']:.3f}), r² {r2:.3f}, over {one['n']} columns and thresholds{left}."
        )
        if known
        else f"{one['n']} columns and thresholds have both rates{left}; it takes three columns, "
        f"and rates that differ by a factor of {LEAST_RANGE:g}.",
    }


def _within(phase: pa.Table, name: str, expected: Numbers, what: str) -> str:
    """In how many 95 % intervals of a number its expected value lies, where these are known."""
    low, high = numbers(phase[f"{name}_low"]), numbers(phase[f"{name}_high"])
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(expected)
    if not known.any():
        return ""
    inside = int(np.sum((low <= expected)[known] & (expected <= high)[known]))
    return f"{what} lies within the 95 % interval in {inside} of {int(known.sum())}."


def kink_is_predicted(ratio: Numbers, low: Numbers, high: Numbers, transition: Numbers) -> Numbers:
    """Whether S bends at 2/s_gf, at each place.

    An interval that reaches into the bounds refutes nothing, and a sharpness that does not bend
    refutes the statement.

    Args:
        ratio: the fitted over the predicted η_c.
        low, high: its 95 % interval, NaN where there is none.
        transition: whether S bends: 1, 0, or NaN where that is open.
    """
    with np.errstate(invalid="ignore"):
        right = np.where((ratio >= KINK[0]) & (ratio <= KINK[1]), 1.0, np.nan)
        right[(np.fmax(ratio, high) < KINK[0]) | (np.fmin(ratio, low) > KINK[1])] = 0.0
    return np.where(transition == 0, 0.0, right)
