"""Statements that any sweep can be asked, and the table of their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import PARAMETERIZATIONS
from orchestrator.analysis.bounds import (
    EDGE,
    FADED,
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

PLACES = "columns and thresholds"


@dataclass(frozen=True)
class Statement:
    """A sentence about a sweep, with its quantity at every place that could decide it.

    Attributes:
        statement_id: its name in the table of findings.
        sentence: what it says.
        quantity: what ``values`` are.
        values: of each place, NaN where it is not known.
        low, high: the bounds within which the statement holds, None for none.
        holds: 1 or 0 at each place, NaN where it leaves the statement open; by default whether the
            value lies within the bounds.
        where: what the places are.
        besides: a sentence that follows the numbers.
        ends: the least, the median and the largest value, by default of ``values``.
        numbers: what is said in place of the numbers.
    """

    statement_id: str
    sentence: str
    quantity: str
    values: Numbers
    low: float | None = None
    high: float | None = None
    holds: Numbers | None = None
    where: str = PLACES
    besides: str = ""
    ends: tuple[float | None, ...] | None = None
    numbers: str = ""

    @property
    def at_places(self) -> Numbers:
        """Whether it holds at each place: 1, 0, or NaN where that is undecided."""
        if self.holds is not None:
            return self.holds
        low, high = (-np.inf if self.low is None else self.low), self.high
        inside = (self.values >= low) & (self.values <= (np.inf if high is None else high))
        return np.where(np.isnan(self.values), np.nan, inside)

    def contrary(self) -> Statement:
        """The statement that holds at the places at which this one does not."""
        return replace(self, sentence=f"Not: {self.sentence}", holds=1 - self.at_places)

    def finding(self) -> dict[str, Any]:
        """Its row in the table of findings."""
        at_places = self.at_places
        decided = np.isfinite(at_places)
        right, n, left = int(np.nansum(at_places)), int(decided.sum()), int((~decided).sum())
        known = self.values[decided & np.isfinite(self.values)]
        ends = self.ends or tuple(
            float(f(known)) if len(known) else None for f in (np.min, np.median, np.max)
        )
        share = share_interval(right, n) if n else (None, None)
        return {
            "statement_id": self.statement_id,
            "statement": self.sentence,
            "verdict": verdict(right, n),
            "n_holds": right,
            "n_decided": n,
            "n_undecided": left,
            **dict(zip(("share_low", "share_high"), share, strict=True)),
            **dict(zip(("value_low", "value_median", "value_high"), ends, strict=True)),
            "wanted_low": self.low,
            "wanted_high": self.high,
            "numbers": self.numbers or self._sentence(right, n, left, ends),
        }

    def _sentence(self, right: int, n: int, left: int, ends: tuple[float | None, ...]) -> str:
        if not n:
            none = f"None of {left}" if left else "The run has no"
            return f"{none} {self.where}{' decides' if left else ''}."
        low, median, high = ends
        spread = (
            ""
            if median is None
            else f", {self.quantity} {median:.4g}"
            if n == 1
            else f", {self.quantity} {low:.4g} to {high:.4g}, median {median:.4g}"
        )
        open_ = f"; {left} undecided" if left else ""
        found = f"Right in {right} of {n} {self.where} ({share_in_words(right, n)}){spread}{open_}."
        return f"{found} {self.besides}".rstrip()


def findings_table(statements: Iterable[Statement]) -> pa.Table:
    """A row per statement, as in :data:`orchestrator.store.FINDINGS`."""
    return pa.Table.from_pylist([one.finding() for one in statements], schema=FINDINGS)


def of_tables(tables: Mapping[str, pa.Table]) -> Iterator[Statement]:
    """The statements that the tables ``phase``, ``valleys``, ``trends``, ``agreement`` decide."""
    yield from _of_phase(tables["phase"])
    yield _proportional(tables["agreement"])
    yield _valley(tables["valleys"])
    yield from _of_trends(tables["trends"])


def _of_phase(phase: pa.Table) -> Iterator[Statement]:
    eta_c, flow_norm = numbers(phase["eta_c"]), numbers(phase["l1_flow"])
    yield Statement(
        "flat_below",
        f"Below η_c the final sharpness varies by less than {100 * FLAT:g} %.",
        "relative range of S",
        numbers(phase["flat_spread"]),
        0.0,
        FLAT,
    )
    yield Statement(
        "edge_above",
        "Above η_c the final sharpness is 2/η.",
        "median S·η/2",
        numbers(phase["edge_ratio"]),
        *EDGE,
        besides=_within(phase, "edge_exponent", np.full(len(phase), -1.0), "The exponent −1"),
    )
    ratio = numbers(phase["eta_c_fitted"]) / eta_c
    low, high = (numbers(phase[f"eta_c_fitted_{end}"]) / eta_c for end in ("low", "high"))
    yield Statement(
        "kink",
        "The sharpness bends at 2/s_gf.",
        "η_c fitted over predicted",
        ratio,
        *KINK,
        _kink_is_predicted(ratio, low, high, numbers(phase["transition"])),
        besides=_within(phase, "eta_c_fitted", eta_c, "2/s_gf"),
    )
    yield Statement(
        "sharpness_fades",
        "Along the flow the sharpness falls before the threshold is reached.",
        "S of the flow at ε over s_gf",
        numbers(phase["flow_sharpness"]) * eta_c / 2,
        0.0,
        FADED,
    )
    yield Statement(
        "norm_flat",
        "Below η_c the ℓ1 norm is that of the gradient flow.",
        "median ℓ1 below η_c relative to the flow's",
        numbers(phase["l1_flat"]) / flow_norm,
        1 - SAME_NORM,
        1 + SAME_NORM,
    )
    rises = numbers(phase["l1_rises"])
    growth = numbers(phase["l1_slope"]) * eta_c / flow_norm
    yield Statement(
        "norm_rises",
        "Above η_c the ℓ1 norm rises with η.",
        "rise per η_c relative to the flow's ℓ1",
        np.where(np.isfinite(rises), growth, np.nan),
        0.0,
        None,
        rises,
    )


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


def _proportional(agreement: pa.Table) -> Statement:
    """The one statement about the sweep as a whole: the slope of fitted on predicted η_c is 1."""
    one = agreement.filter(pc.equal(agreement["scope_field"], "all")).to_pylist()[0]
    known = one["slope"] is not None
    slope, low, high = (
        one[name] if known else default
        for name, default in (("slope", np.nan), ("slope_low", -np.inf), ("slope_high", np.inf))
    )
    r2 = one["r2"] or 0.0  # a rate that is the same everywhere is explained by nothing
    right = known and (
        (PROPORTIONAL[0] <= slope <= PROPORTIONAL[1] and r2 >= LEAST_EXPLAINED)
        or (PROPORTIONAL[0] <= low and high <= PROPORTIONAL[1])
    )
    # A wide interval, or a cloud without a line, refutes nothing.
    decided = right or low > PROPORTIONAL[1] or high < PROPORTIONAL[0]
    left = f", {one['n_undecided']} undecided" if one["n_undecided"] else ""
    return Statement(
        "proportional",
        "Over all columns the fitted η_c is proportional to the predicted one.",
        "slope",
        np.array([slope]),
        *PROPORTIONAL,
        np.array([float(right) if decided else np.nan]),
        ends=(one["slope_low"], one["slope"], one["slope_high"]),
        numbers=f"Slope of log η_c fitted on predicted {slope:.3f} ({low:.3f} to {high:.3f}), "
        f"r² {r2:.3f}, over {one['n']} columns and thresholds{left}."
        if known
        else f"{one['n']} columns and thresholds have both rates{left}; it takes three columns, "
        f"and rates that differ by a factor of {LEAST_RANGE:g}.",
    )


def _valley(valleys: pa.Table) -> Statement:
    """Over groups of columns that differ in their seed alone."""
    shaped, best = numbers(valleys["u_shaped"]), numbers(valleys["eta_best_over_eta_c"])
    return Statement(
        "valley",
        "The best test loss lies between the smallest and the largest η.",
        "best η/η_c",
        np.where(np.isfinite(shaped), best, np.nan),
        holds=shaped,
        where="problems and thresholds, over seeds",
    )


def _of_trends(trends: pa.Table) -> Iterator[Statement]:
    def same(statement_id: str, sentence: str, field: str, groups: pa.Table) -> Statement:
        return Statement(
            statement_id,
            sentence,
            f"largest over smallest s_gf of the {field}s",
            numbers(groups["s_gf_ratio"]),
            1.0,
            SAME_WIDTHS,
            where=f"groups of columns that differ in the {field} alone",
            besides=_without(groups),
        )

    def of(field: str) -> pa.Table:
        return trends.filter(pc.equal(trends["field"], field))

    widths = of("width")
    for name in sorted(PARAMETERIZATIONS):
        sentence = f"Under {name} s_gf does not depend on the width."
        groups = widths.filter(pc.equal(widths["parameterization"], name))
        yield same(f"width_{name}", sentence, "width", groups)
    nameless = widths.filter(pc.is_null(widths["parameterization"]))
    yield same("width", "s_gf does not depend on the width.", "width", nameless)
    samples = of("n_train")
    yield Statement(
        "samples",
        "s_gf grows with the number of samples.",
        "s_gf at the most over the fewest samples",
        numbers(samples["s_gf_change"]),
        SAME_WIDTHS,
        None,
        _verdicts(samples, "rises"),
        where="groups of columns that differ in the samples alone",
        besides=_without(samples),
    )
    yield same("seed", "s_gf does not depend on the seed.", "seed", of("seed"))
    for field, with_it in CHANGES.items():
        groups = of(field)
        yield Statement(
            field,
            f"s_gf changes {with_it}.",
            "largest over smallest s_gf",
            numbers(groups["s_gf_ratio"]),
            SAME_WIDTHS,
            where="columns at several thresholds"
            if field == "epsilon"
            else f"groups of columns that differ in the {field.replace('_', ' ')} alone",
            besides=_without(groups),
        )


def _verdicts(trends: pa.Table, wanted: str) -> Numbers:
    """1 where the verdict is that one, 0 where it is another, NaN where it is open."""
    found = np.array(trends["verdict"].to_pylist(), dtype=object)
    return np.where(found == UNDECIDED, np.nan, np.asarray(found == wanted, dtype=float))


def _without(trends: pa.Table) -> str:
    """How many values of the groups took no part, as the flow of their columns predicts no η_c."""
    n, known = (int(numbers(trends[name]).sum()) for name in ("n_values", "n_settled"))
    return f"{n - known} of {n} values have no s_gf." if n > known else ""


def _within(phase: pa.Table, name: str, expected: Numbers, what: str) -> str:
    """In how many 95 % intervals of a number its expected value lies, where these are known."""
    low, high = numbers(phase[f"{name}_low"]), numbers(phase[f"{name}_high"])
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(expected)
    if not known.any():
        return ""
    inside = int(np.sum((low <= expected)[known] & (expected <= high)[known]))
    return f"{what} lies within the 95 % interval in {inside} of {int(known.sum())}."
