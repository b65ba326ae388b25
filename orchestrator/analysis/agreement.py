"""The fitted η_c against the predicted one, over everything and over each value of a field."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.bounds import LEAST_PAIRS, LEAST_RANGE
from orchestrator.analysis.columns import spelled
from orchestrator.analysis.grouped import CONFIDENCE, Codes, Numbers, codes, lines, numbers
from orchestrator.store import AGREEMENT

SCOPES = (
    *("loss", "parameterization", "architecture", "dataset", "activation"),
    *("subset", "normalization", "dtype", "epsilon"),
)

ENOUGH_FOR_QUANTILES = 40
"""From so many ratios on, one of them lies beyond either 2.5 % quantile; below, the least and the
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
) -> dict[str, str | int | float | None]:
    both = (predicted > 0) & (fitted > 0)
    x, y = np.log(predicted[both]), np.log(fitted[both])
    n = len(x)
    row: dict[str, str | int | float | None] = {
        "scope_field": field,
        "scope_value": value,
        "n": n,
        "n_undecided": len(both) - n,
    }
    if n:
        ratio = np.exp(y - x)
        tail = (1 - CONFIDENCE) / 2 if n >= ENOUGH_FOR_QUANTILES else 0.0
        low, middle, high = np.quantile(ratio, [tail, 0.5, 1 - tail]).tolist()
        row |= {"ratio_median": middle, "ratio_low": low, "ratio_high": high}
    of_column, times = np.unique(column[both], return_inverse=True, return_counts=True)[1:]
    n_columns = len(times)
    x, y = (np.bincount(of_column, values, n_columns) / times for values in (x, y))
    if n_columns >= LEAST_PAIRS and float(np.ptp(x)) >= np.log(LEAST_RANGE):
        line = lines(x, y, np.zeros(n_columns, dtype=np.int64), 1)
        row |= {
            "slope": float(line.slope[0]),
            "slope_low": float(line.low[0]),
            "slope_high": float(line.high[0]),
            "intercept": float(line.intercept[0]),
            "r2": float(line.r2[0]) if np.isfinite(line.r2[0]) else None,
        }
    return row
