"""The fitted η_c against the predicted one, over everything and over each value of a field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.bounds import LEAST_PAIRS, LEAST_RANGE
from orchestrator.analysis.columns import spelled
from orchestrator.analysis.grouped import (
    CONFIDENCE,
    Codes,
    Numbers,
    codes,
    lines,
    numbers,
    with_interval,
)
from orchestrator.store import AGREEMENT

SCOPES = (
    *("loss", "parameterization", "architecture", "dataset", "activation"),
    *("subset", "normalization", "dtype", "epsilon"),
)

ENOUGH_FOR_QUANTILES = 40
"""Ratios from which on one of them lies beyond either 2.5 % quantile; below, the least and the
largest are what is known of the ends."""


def agreement_table(columns: pa.Table, phase: pa.Table) -> pa.Table:
    """A row for the scope ``all`` and for each value of SCOPES, as in AGREEMENT.

    The line is log η_c fitted = intercept + slope · log η_c predicted through one point a column,
    the mean over its thresholds: what moves a column off the line moves it at all of them, and
    they would not count as independent. It is NULL with fewer than LEAST_PAIRS columns, or where
    their predicted rates span less than a factor LEAST_RANGE.
    """
    predicted, fitted = numbers(phase["eta_c"]), numbers(phase["eta_c_fitted"])
    place = pc.index_in(phase["column_id"], value_set=columns["column_id"].combine_chunks())
    column = codes(phase["column_id"])
    rows = [_row("all", None, predicted, fitted, column)]
    for field in SCOPES:
        values = phase[field] if field == "epsilon" else columns[field].take(place)
        encoded = values.combine_chunks().dictionary_encode()
        indices = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
        found = encoded.dictionary.to_pylist()
        for number in sorted(range(len(found)), key=found.__getitem__):
            here = indices == number
            value = spelled(found[number], whole=True)
            rows.append(_row(field, value, predicted[here], fitted[here], column[here]))
    return pa.Table.from_pylist(rows, schema=AGREEMENT)


def _row(
    field: str, value: str | None, predicted: Numbers, fitted: Numbers, column: Codes
) -> dict[str, Any]:
    both = (predicted > 0) & (fitted > 0)
    x, y, n = np.log(predicted[both]), np.log(fitted[both]), int(both.sum())
    found: dict[str, Any] = {
        "scope_field": field,
        "scope_value": value,
        "n": n,
        "n_undecided": len(both) - n,
    }
    if n:
        tail = (1 - CONFIDENCE) / 2 if n >= ENOUGH_FOR_QUANTILES else 0.0
        ratios = np.quantile(np.exp(y - x), [0.5, tail, 1 - tail]).tolist()
        found |= dict(zip(("ratio_median", "ratio_low", "ratio_high"), ratios, strict=True))
    of_column, times = np.unique(column[both], return_inverse=True, return_counts=True)[1:]
    x, y = (np.bincount(of_column, values, len(times)) / times for values in (x, y))
    if len(times) >= LEAST_PAIRS and float(np.ptp(x)) >= np.log(LEAST_RANGE):
        line = lines(x, y, np.zeros(len(times), dtype=np.int64), 1)
        slope = with_interval("slope", line.slope, line.low, line.high)
        line_of = slope | {"intercept": line.intercept, "r2": line.r2}
        known = {name: float(one[0]) for name, one in line_of.items()}
        found |= {name: one if np.isfinite(one) else None for name, one in known.items()}
    return found
