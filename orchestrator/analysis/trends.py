"""Whether s_gf depends on a field: a ratio, a slope and a verdict for each group and ε."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.bounds import SAME_WIDTHS
from orchestrator.analysis.grouped import (
    Codes,
    Flags,
    Lines,
    Numbers,
    codes,
    distinct_per_group,
    lines,
    numbers,
    numbers_or_null,
    together,
)
from orchestrator.analysis.groups import ORDERED
from orchestrator.store import TRENDS

INDEPENDENT, RISES, FALLS, DIFFERS, UNDECIDED = VERDICTS = (
    *("independent", "rises", "falls", "differs", "undecided"),
)
"""``independent``: the largest s_gf is at most SAME_WIDTHS times the smallest. Beyond it, ``rises``
and ``falls``: s_gf does so from each value to the next larger one, or by the 95 % interval of its
slope; ``differs``: neither, or the values have no order. ``undecided``: fewer than two values have
an s_gf."""


def trends_table(dependence: pa.Table) -> pa.Table:
    """A row per field, group and ε of a table of DEPENDENCE, as :data:`orchestrator.store.TRENDS`.

    The group of ``epsilon`` is a column at all its ε, so that its ``epsilon`` is NULL. Where a
    value has several columns, as under two protocols, the mean of their log s_gf counts.
    """
    length = len(dependence)
    is_epsilon = np.asarray(pc.equal(dependence["field"], "epsilon"), dtype=bool)
    at = np.where(is_epsilon, 0, 1 + codes(dependence["epsilon"]))
    group = together([codes(dependence["field"]), codes(dependence["group_id"]), at], length)
    first = np.unique(group, return_index=True)[1]
    points = _points(dependence, group, len(first))
    ordered = np.isin(dependence["field"].take(first).to_numpy(zero_copy_only=False), ORDERED)
    n_values = distinct_per_group(group, codes(dependence["value_text"]), len(first))
    table = _summarised(points, ordered, n_values)
    taken = dependence.select(["field", "group_id", "parameterization", "epsilon"]).take(first)
    field = taken["field"]
    table["field"], table["group_id"] = field, taken["group_id"]
    table["parameterization"] = _unless(field, "parameterization", taken["parameterization"])
    table["epsilon"] = _unless(field, "epsilon", taken["epsilon"])
    in_order = np.argsort(first, kind="stable")
    return pa.table([table[name] for name in TRENDS.names], schema=TRENDS).take(in_order)


class _Points:
    """Settled values by group and, in it, by size: log value, mean log s_gf, and its group."""

    def __init__(self, value: Numbers, log_s: Numbers, group: Codes, n_groups: int) -> None:
        self.value, self.log_s, self.group, self.n_groups = value, log_s, group, n_groups


def _points(dependence: pa.Table, group: Codes, n_groups: int) -> _Points:
    s_gf, value = numbers(dependence["s_gf"]), numbers(dependence["value_number"])
    settled = np.flatnonzero(s_gf > 0)
    pair = together([group, codes(dependence["value_text"])], len(group))[settled]
    _, first, pair = np.unique(pair, return_index=True, return_inverse=True)
    mean = np.bincount(pair, weights=np.log(s_gf[settled])) / np.maximum(np.bincount(pair), 1)
    rows = settled[first]
    order = np.lexsort((value[rows], group[rows]))
    return _Points(value[rows][order], mean[order], group[rows][order], n_groups)


def _summarised(points: _Points, ordered: Flags, n_values: Codes) -> dict[str, pa.Array]:
    """The numbers and verdicts of all groups; ``ordered`` and ``n_values`` of shape (groups,)."""
    group, log_s, n_groups = points.group, points.log_s, points.n_groups
    n_settled = np.bincount(group, minlength=n_groups)
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    np.minimum.at(low, group, log_s)
    np.maximum.at(high, group, log_s)
    decided = n_settled >= 2
    ratio = np.exp(np.where(decided, high - low, np.nan))
    last = np.cumsum(n_settled) - 1
    start = last - n_settled + 1
    change = np.full(n_groups, np.nan)
    known = decided & ordered
    change[known] = np.exp(log_s[last[known]] - log_s[start[known]])
    sized = ordered[group]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(sized, np.log(points.value), 0.0)
    finite = sized & np.isfinite(x)
    line = lines(x[finite], log_s[finite], group[finite], n_groups)
    verdict = _verdicts(points, ratio, ordered, decided, line)
    counts = zip(n_settled.tolist(), n_values.tolist(), decided.tolist(), strict=True)
    reason = [None if good else f"s_gf is known at {n} of {of} values" for n, of, good in counts]
    return {
        "n_values": pa.array(n_values, type=pa.int64()),
        "n_settled": pa.array(n_settled, type=pa.int64()),
        "s_gf_ratio": numbers_or_null(ratio),
        "s_gf_change": numbers_or_null(change),
        "s_gf_slope": numbers_or_null(line.slope),
        "s_gf_slope_low": numbers_or_null(line.low),
        "s_gf_slope_high": numbers_or_null(line.high),
        "verdict": pa.array(verdict, type=pa.string()),
        "reason": pa.array(reason, type=pa.string()),
    }


def _verdicts(
    points: _Points, ratio: Numbers, ordered: Flags, decided: Flags, line: Lines
) -> list[str]:
    step = np.diff(points.log_s)
    inside = points.group[1:] == points.group[:-1]
    ups = np.bincount(points.group[1:][inside & (step > 0)], minlength=points.n_groups)
    downs = np.bincount(points.group[1:][inside & (step < 0)], minlength=points.n_groups)
    found = np.full(points.n_groups, DIFFERS, dtype=object)
    with np.errstate(invalid="ignore"):
        found[ordered & ((downs == 0) | (line.low > 0))] = RISES
        found[ordered & ((ups == 0) | (line.high < 0))] = FALLS
    found[ratio <= SAME_WIDTHS] = INDEPENDENT
    found[~decided] = UNDECIDED
    return [str(one) for one in found]


def _unless(field: pa.ChunkedArray, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values, NULL where the group is about that very field."""
    return pc.if_else(pc.equal(field, name), pa.scalar(None, values.type), values)
