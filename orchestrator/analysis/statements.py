"""Statements that any sweep can be asked, and the rows of their findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import PARAMETERIZATIONS
from orchestrator.analysis.bounds import (
    APART,
    DEEP_ENOUGH,
    EDGE,
    FADED,
    FALLEN,
    FLAT,
    KINK,
    LEAST_EXPLAINED,
    LEAST_RANGE,
    PROPORTIONAL,
    SAME_NORM,
    SAME_SHARPNESS,
    SAME_WIDTHS,
    TRUTH,
)
from orchestrator.analysis.grouped import Numbers, numbers
from orchestrator.analysis.trends import UNDECIDED
from orchestrator.analysis.verdict import share_in_words, share_interval, verdict
from orchestrator.store import FINDINGS

PLACES = "columns and thresholds"
ALONE = "groups of columns that differ in the {} alone"


@dataclass(frozen=True)
class Statement:
    """A sentence, its quantity, the bounds within which it holds, and where it is decided."""

    sentence: str
    quantity: str
    low: float | None = None
    high: float | None = None
    where: str = PLACES


@dataclass(frozen=True)
class Evaluation:
    """What a sweep says to a statement.

    Attributes:
        values: the quantity at each place that could decide it, NaN where it is not known.
        holds: 1 or 0 at each place, NaN where it leaves the statement open; by default whether the
            value lies within the bounds.
        besides: a sentence that follows the numbers.
        ends: the least, the median and the largest value, by default of ``values``.
        numbers: what is said in place of the numbers.
    """

    values: Numbers
    holds: Numbers | None = None
    besides: str = ""
    ends: tuple[float | None, ...] | None = None
    numbers: str = ""


FALLING = {
    "trace": "trace",
    "frobenius": "Frobenius norm",
    "adaptive_sharpness": "adaptive sharpness",
    "average_sharpness": "average sharpness",
}
"""The further measures of which it is asked whether they fall above η_c."""

CHANGES = {
    **{"depth": "depth", "epsilon": "loss threshold ε", "init_scale": "scale of initialisation"},
    **{"activation": "activation", "loss": "loss", "architecture": "architecture"},
    **{"dataset": "dataset", "parameterization": "parameterization"},
}
"""The fields of which it is asked whether s_gf changes with them."""

_RATIO = "largest over smallest s_gf"
_OF_WIDTHS = (f"{_RATIO} of the widths", 1.0, SAME_WIDTHS, ALONE.format("width"))
_NOT_WIDTH = "s_gf does not depend on the width."

STATEMENTS: dict[str, Statement] = {
    "flat_below": Statement(
        f"Below η_c the final sharpness varies by less than {100 * FLAT:g} %.",
        *("relative range of S", 0.0, FLAT),
    ),
    "edge_above": Statement("Above η_c the final sharpness is 2/η.", "median S·η/2", *EDGE),
    "kink": Statement("The sharpness bends at 2/s_gf.", "η_c fitted over predicted", *KINK),
    "proportional": Statement(
        "Over all columns the fitted η_c is proportional to the predicted one.",
        *("slope", *PROPORTIONAL),
    ),
    "flow_sharpness": Statement(
        "Below η_c the final sharpness of every trial is the flow's.",
        *("largest relative difference of S from the flow's", 0.0, SAME_SHARPNESS),
    ),
    "sharpness_fades": Statement(
        "Along the flow the sharpness falls before the threshold is reached.",
        *("S of the flow at ε over s_gf", 0.0, FADED),
    ),
    "norm_flat": Statement(
        "Below η_c the ℓ1 norm is that of the gradient flow.",
        *("median ℓ1 below η_c relative to the flow's", 1 - SAME_NORM, 1 + SAME_NORM),
    ),
    "flow_norm": Statement(
        "Below η_c the final ℓ1 norm of every trial is the flow's.",
        *("largest relative difference of the ℓ1 norm from the flow's", 0.0, SAME_NORM),
    ),
    "norm_rises": Statement(
        "Above η_c the ℓ1 norm rises with η.", "rise per η_c relative to the flow's ℓ1", 0.0
    ),
    "midpoint_norm_rises": Statement(
        "Above η_c the ℓ1 norm of the mean of the last two iterates rises with η.",
        "rise per η_c relative to the median norm above",
        low=0.0,
        where=f"{PLACES} with norms of the midpoint",
    ),
    "stops_early": Statement(
        "Stopped at a looser threshold, the same trial of GD has a smaller ℓ1 norm.",
        "least ℓ1 over that at the next looser ε",
        low=1.0,
        where="columns at several thresholds",
    ),
    "apart_from_flow": Statement(
        "Below η_c GD is apart from the flow at equal time.",
        "largest distance from the flow over that from θ0",
        low=APART,
        where=f"{PLACES} with distances from the flow",
    ),
    "valley": Statement(
        "The best test loss lies between the smallest and the largest η.",
        "best η/η_c",
        where="problems and thresholds, over seeds",
    ),
    "neither_is_best": Statement(
        "Neither the least ℓ1 norm nor the least sharpness has the least test loss.",
        "least test loss over the lower one of those at the least norm and the least S",
        *(0.0, 1 / (1 + DEEP_ENOUGH), f"{PLACES} with a test loss"),
    ),
    "best_at_the_truth": Statement(
        "The test loss is least at η* = 2/S(β*), where the edge goes through the truth.",
        *("best η over 2/S(β*)", *TRUTH, f"{PLACES} with a known truth β*"),
    ),
    **{
        f"{name}_falls": Statement(
            f"Above η_c the {words} is smaller than below.",
            f"{words} at the largest η over the median below η_c",
            *(0.0, FALLEN, f"{PLACES} with a measured {words}"),
        )
        for name, words in FALLING.items()
    },
    **{
        f"width_{name}": Statement(f"Under {name} {_NOT_WIDTH}", *_OF_WIDTHS)
        for name in sorted(PARAMETERIZATIONS)
    },
    "width": Statement(_NOT_WIDTH, *_OF_WIDTHS),
    "seed": Statement(
        "s_gf does not depend on the seed.",
        *(f"{_RATIO} of the seeds", 1.0, SAME_WIDTHS, ALONE.format("seed")),
    ),
    "samples": Statement(
        "s_gf grows with the number of samples.",
        *("s_gf at the most over the fewest samples", SAME_WIDTHS, None, ALONE.format("samples")),
    ),
    **{
        field: Statement(
            *(f"s_gf changes with the {words}.", _RATIO, SAME_WIDTHS, None),
            ALONE.format(words) if field != "epsilon" else "columns at several thresholds",
        )
        for field, words in CHANGES.items()
    },
}
"""All statements, in the order of the table of findings."""


def findings_table(found: Mapping[str, Evaluation]) -> pa.Table:
    """A row per statement that was evaluated, as in :data:`orchestrator.store.FINDINGS`."""
    rows = [finding(name, found[name]) for name in STATEMENTS if name in found]
    return pa.Table.from_pylist(rows, schema=FINDINGS)


def finding(statement_id: str, found: Evaluation, *, contrary: bool = False) -> dict[str, Any]:
    """The row of a statement, or of the contrary one, which holds where the statement does not."""
    said, values = STATEMENTS[statement_id], found.values
    low, high = (-np.inf if said.low is None else said.low), said.high
    inside = (values >= low) & (values <= (np.inf if high is None else high))
    holds = np.where(np.isnan(values), np.nan, inside) if found.holds is None else found.holds
    holds = 1 - holds if contrary else holds
    decided = np.isfinite(holds)
    right, n, left = int(np.nansum(holds)), int(decided.sum()), int((~decided).sum())
    known = values[decided & np.isfinite(values)]
    of_known = [float(f(known)) if len(known) else None for f in (np.min, np.median, np.max)]
    ends = found.ends or of_known
    share = share_interval(right, n) if n else (None, None)
    if n:
        spread = (
            ""
            if ends[1] is None
            else f", {said.quantity} {ends[1]:.4g}"
            if n == 1
            else f", {said.quantity} {ends[0]:.4g} to {ends[2]:.4g}, median {ends[1]:.4g}"
        )
        open_ = f"; {left} undecided" if left else ""
        shares = f"Right in {right} of {n} {said.where} ({share_in_words(right, n)})"
        words = f"{shares}{spread}{open_}. {found.besides}".rstrip()
    else:
        words = f"None of {left} {said.where} decides." if left else f"The run has no {said.where}."
    return {
        "statement_id": statement_id,
        "statement": said.sentence,
        "verdict": verdict(right, n),
        **{"n_holds": right, "n_decided": n, "n_undecided": left},
        **dict(zip(("share_low", "share_high"), share, strict=True)),
        **dict(zip(("value_low", "value_median", "value_high"), ends, strict=True)),
        **{"wanted_low": said.low, "wanted_high": said.high},
        "numbers": found.numbers or words,
    }


def of_tables(tables: Mapping[str, pa.Table]) -> dict[str, Evaluation]:
    """The statements that the tables ``phase``, ``valleys``, ``trends``, ``agreement`` decide."""
    phase, valleys = tables["phase"], tables["valleys"]
    eta_c, flow_norm = numbers(phase["eta_c"]), numbers(phase["l1_flow"])
    ratio, low, high = (
        numbers(phase[f"eta_c_fitted{end}"]) / eta_c for end in ("", "_low", "_high")
    )
    kinks = _kink_is_predicted(ratio, low, high, numbers(phase["transition"]))
    rises, growth = numbers(phase["l1_rises"]), numbers(phase["l1_slope"]) * eta_c / flow_norm
    shaped, best = numbers(valleys["u_shaped"]), numbers(valleys["eta_best_over_eta_c"])
    exponent = np.full(len(phase), -1.0)
    return {
        "flat_below": Evaluation(numbers(phase["flat_spread"])),
        "edge_above": Evaluation(
            numbers(phase["edge_ratio"]),
            besides=_within(phase, "edge_exponent", exponent, "The exponent −1"),
        ),
        "kink": Evaluation(ratio, kinks, _within(phase, "eta_c_fitted", eta_c, "2/s_gf")),
        "proportional": _proportional(tables["agreement"]),
        "sharpness_fades": Evaluation(numbers(phase["flow_sharpness"]) * eta_c / 2),
        "norm_flat": Evaluation(numbers(phase["l1_flat"]) / flow_norm),
        "norm_rises": Evaluation(np.where(np.isfinite(rises), growth, np.nan), rises),
        "valley": Evaluation(np.where(np.isfinite(shaped), best, np.nan), shaped),
        **_of_trends(tables["trends"]),
    }


def _kink_is_predicted(ratio: Numbers, low: Numbers, high: Numbers, bends: Numbers) -> Numbers:
    """Whether S bends at 2/s_gf, at each place.

    An interval that reaches into the bounds refutes nothing, and a sharpness that does not bend
    refutes the statement.

    Args:
        ratio: the fitted over the predicted η_c.
        low, high: its 95 % interval, NaN where there is none.
        bends: whether S bends: 1, 0, or NaN where that is open.
    """
    holds = np.where((ratio >= KINK[0]) & (ratio <= KINK[1]), 1.0, np.nan)
    holds[(np.fmax(ratio, high) < KINK[0]) | (np.fmin(ratio, low) > KINK[1])] = 0.0
    return np.where(bends == 0, 0.0, holds)


def _proportional(agreement: pa.Table) -> Evaluation:
    """The one statement about the sweep as a whole: the slope of fitted on predicted η_c is 1."""
    one = agreement.filter(pc.equal(agreement["scope_field"], "all")).to_pylist()[0]
    ends = one["slope_low"], one["slope"], one["slope_high"]
    left = f", {one['n_undecided']} undecided" if one["n_undecided"] else ""
    if one["slope"] is None:
        words = (
            f"{one['n']} columns and thresholds have both rates{left}; it takes three columns, "
            f"and rates that differ by a factor of {LEAST_RANGE:g}."
        )
        return Evaluation(np.array([np.nan]), ends=ends, numbers=words)
    low, slope, high = ends
    r2 = one["r2"] or 0.0  # a rate that is the same everywhere is explained by nothing
    right = (PROPORTIONAL[0] <= slope <= PROPORTIONAL[1] and r2 >= LEAST_EXPLAINED) or (
        PROPORTIONAL[0] <= low and high <= PROPORTIONAL[1]
    )
    # A wide interval, or a cloud without a line, refutes nothing.
    decided = right or low > PROPORTIONAL[1] or high < PROPORTIONAL[0]
    words = (
        f"Slope of log η_c fitted on predicted {slope:.3f} ({low:.3f} to {high:.3f}), "
        f"r² {r2:.3f}, over {one['n']} columns and thresholds{left}."
    )
    holds = np.array([float(right) if decided else np.nan])
    return Evaluation(np.array([slope]), holds, ends=ends, numbers=words)


def _of_trends(trends: pa.Table) -> dict[str, Evaluation]:
    def of(field: str) -> pa.Table:
        return trends.filter(pc.equal(trends["field"], field))

    widths, samples = of("width"), of("n_train")
    by = widths["parameterization"]
    groups = {f"width_{name}": widths.filter(pc.equal(by, name)) for name in PARAMETERIZATIONS}
    groups |= {"width": widths.filter(pc.is_null(by)), "seed": of("seed")}
    groups |= {field: of(field) for field in CHANGES}
    found = {
        name: Evaluation(numbers(its["s_gf_ratio"]), besides=_without(its))
        for name, its in groups.items()
    }
    verdicts = np.array(samples["verdict"].to_pylist(), dtype=object)
    rises = np.where(verdicts == UNDECIDED, np.nan, np.asarray(verdicts == "rises", dtype=float))
    change = numbers(samples["s_gf_change"])
    return found | {"samples": Evaluation(change, rises, _without(samples))}


def _without(trends: pa.Table) -> str:
    """How many values of the groups took no part, as the flow of their columns predicts no η_c."""
    n, known = (int(numbers(trends[name]).sum()) for name in ("n_values", "n_known"))
    return f"{n - known} of {n} values have no s_gf." if n > known else ""


def _within(phase: pa.Table, name: str, expected: Numbers, what: str) -> str:
    """In how many 95 % intervals of a number its expected value lies, where these are known."""
    low, high = numbers(phase[f"{name}_low"]), numbers(phase[f"{name}_high"])
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(expected)
    if not known.any():
        return ""
    inside = int(np.sum((low <= expected)[known] & (expected <= high)[known]))
    return f"{what} lies within the 95 % interval in {inside} of {int(known.sum())}."
