"""Whether s_gf depends on a field: a ratio, a slope and a verdict for each group and ε."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.bounds import SAME_WIDTHS
from orchestrator.analysis.grouped import (
    Codes,
    Flags,
    Numbers,
    at,
    codes,
    distinct_per_group,
    extremes,
    firsts,
    lines,
    numbers,
    numbers_or_null,
    together,
    with_interval,
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
    is_epsilon = np.asarray(pc.equal(dependence["field"], "epsilon"), dtype=bool)
    threshold = np.where(is_epsilon, 0, 1 + codes(dependence["epsilon"]))
    group = together(
        [codes(dependence["field"]), codes(dependence["group_id"]), threshold], len(dependence)
    )
    first = np.unique(group, return_index=True)[1]
    ordered = np.isin(dependence["field"].take(first).to_numpy(zero_copy_only=False), ORDERED)
    table = _summarised(dependence, group, ordered)
    taken = dependence.select(["field", "group_id", "parameterization", "epsilon"]).take(first)
    table |= {"field": taken["field"], "group_id": taken["group_id"]}
    for name in ("parameterization", "epsilon"):  # NULL where the group is about that very field
        null = pa.scalar(None, taken[name].type)
        table[name] = pc.if_else(pc.equal(taken["field"], name), null, taken[name])
    in_order = np.argsort(first, kind="stable")
    return pa.table([table[name] for name in TRENDS.names], schema=TRENDS).take(in_order)


def _summarised(dependence: pa.Table, group: Codes, ordered: Flags) -> dict[str, Any]:
    """The numbers and verdicts of all groups; ``ordered`` is of shape (groups,)."""
    n_groups = len(ordered)
    n_values = distinct_per_group(group, codes(dependence["value_text"]), n_groups)
    value, log_s, group = _known_values(dependence, group)
    n_known = np.bincount(group, minlength=n_groups)
    decided = n_known >= 2
    low, high = extremes(log_s, group, n_groups)
    ratio = np.exp(np.where(decided, high - low, np.nan))
    ends = (at(log_s, firsts([key], group, n_groups)) for key in (-value, value))
    change = np.exp(np.where(decided & ordered, np.subtract(*ends), np.nan))
    finite = ordered[group] & (value > 0)
    line = lines(np.log(value[finite]), log_s[finite], group[finite], n_groups)
    step, inside = np.diff(log_s), group[1:] == group[:-1]
    ups, downs = (
        np.bincount(group[1:][inside & moves], minlength=n_groups) for moves in (step > 0, step < 0)
    )
    rises = ordered & ((downs == 0) | (line.low > 0))
    falls = ordered & ((ups == 0) | (line.high < 0))
    verdict = np.select(
        [~decided, ratio <= SAME_WIDTHS, falls, rises],
        [UNDECIDED, INDEPENDENT, FALLS, RISES],
        DIFFERS,
    )
    slope = with_interval("s_gf_slope", line.slope, line.low, line.high)
    counts = zip(n_known.tolist(), n_values.tolist(), decided.tolist(), strict=True)
    reason = [None if good else f"s_gf is known at {n} of {of} values" for n, of, good in counts]
    return {
        "n_values": pa.array(n_values, type=pa.int64()),
        "n_known": pa.array(n_known, type=pa.int64()),
        "s_gf_ratio": numbers_or_null(ratio),
        "s_gf_change": numbers_or_null(change),
        **{name: numbers_or_null(values) for name, values in slope.items()},
        "verdict": pa.array(verdict.tolist(), type=pa.string()),
        "reason": pa.array(reason, type=pa.string()),
    }


def _known_values(dependence: pa.Table, group: Codes) -> tuple[Numbers, Numbers, Codes]:
    """Of each value with an s_gf the number, the mean log s_gf and the group, in order of size."""
    s_gf, value = numbers(dependence["s_gf"]), numbers(dependence["value_number"])
    rows = np.flatnonzero(s_gf > 0)
    pair = together([group, codes(dependence["value_text"])], len(group))[rows]
    _, first, pair = np.unique(pair, return_index=True, return_inverse=True)
    mean = np.bincount(pair, weights=np.log(s_gf[rows])) / np.maximum(np.bincount(pair), 1)
    rows = rows[first]
    order = np.lexsort((value[rows], group[rows]))
    return value[rows][order], mean[order], group[rows][order]
