"""Rows of the table ``trials`` as the outcomes of trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.plan import (
    DIGITS,
    NOTHING_SETTLED,
    FlowSummary,
    SettledTrials,
    Threshold,
    as_number,
)
from orchestrator.store import TRIALS

COLUMNS = (
    "trial_id",
    "column_id",
    "kind",
    "eta",
    "attempt",
    "epsilon",
    "status",
    "time",
    "max_sharpness",
    "init_sharpness",
    "gradients",
    "hvps",
    "wall_s",
    "finished_at",
    "data_digest",
    "sharpness",
    "sharpness_converged",
    "test_loss",
)
"""What is read of a row."""

_OF_FLOWS = [
    *("trial_id", "epsilon", "status", "time", "max_sharpness", "init_sharpness"),
    *("gradients", "hvps", "wall_s"),
]

_VALUES = np.full(256, 255, dtype=np.uint8)
_VALUES[[ord(digit) for digit in "0123456789abcdef"]] = np.arange(16)


def settled_trials_of(rows: pa.Table) -> SettledTrials:
    """The trials that rows with these :data:`COLUMNS` are of, which come from one attempt of each.

    Rows whose names are none of this version's are left out.
    """
    trial, named = numbers_of(rows.column("trial_id"))
    column, of_column = numbers_of(rows.column("column_id"))
    named &= of_column
    if not named.all():
        rows, trial, column = rows.filter(pa.array(named)), trial[named], column[named]
    if not len(rows):
        return NOTHING_SETTLED
    order = np.lexsort((_array(rows, "epsilon"), trial))
    starts = np.flatnonzero(np.append(True, trial[order[1:]] != trial[order[:-1]]))
    first = order[starts]  # of each trial its row at the smallest ε
    diverged = np.asarray(pc.equal(rows.column("status"), "diverged").to_numpy(), dtype=bool)
    no_start = np.asarray(pc.equal(rows.column("status"), "no_start").to_numpy(), dtype=bool)
    is_flow = np.asarray(pc.equal(rows.column("kind"), "flow").to_numpy(), dtype=bool)[first]
    of_flows = rows.filter(pc.equal(rows.column("kind"), "flow")).select(_OF_FLOWS).to_pylist()
    by_flow: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in of_flows:
        by_flow[row["trial_id"]].append(row)
    reached = np.asarray(pc.equal(rows.column("status"), "reached").to_numpy(), dtype=bool)[first]
    converged = pc.fill_null(rows.column("sharpness_converged"), False).to_numpy()[first]
    finished = pc.cast(rows.column("finished_at"), pa.int64())
    return SettledTrials(
        trial=trial[first],
        column=column[first],
        is_flow=is_flow,
        eta=_array(rows, "eta")[first],
        attempt=_array(rows, "attempt")[first],
        diverged=np.logical_or.reduceat(diverged[order], starts),
        no_start=no_start[first],
        reached=reached,
        sharpness=np.where(reached & converged, _array(rows, "sharpness")[first], np.nan),
        test_loss=np.where(reached, _array(rows, "test_loss")[first], np.nan),
        seconds=np.nan_to_num(_array(rows, "wall_s")[first]),
        finished_at=pc.fill_null(finished, 0).to_numpy()[first],
        digested=np.asarray(pc.is_valid(rows.column("data_digest")).to_numpy())[first],
        flows={as_number(name): _flow(its) for name, its in by_flow.items()},
    )


def settled_trials_of_rows(rows: Sequence[Mapping[str, Any]]) -> SettledTrials:
    """The trials that rows are of which were just written."""
    schema = pa.schema([TRIALS.field(name) for name in COLUMNS])
    return settled_trials_of(pa.Table.from_pylist(rows, schema=schema))


def numbers_of(names: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Names of trials or columns as the numbers that their hex digits are; and which are such."""
    return _numbers_of(pa.concat_arrays([pa.array([], pa.string()), *names.chunks]))


def _numbers_of(names: pa.StringArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    if not len(names):
        return np.zeros(0, np.uint64), np.zeros(0, bool)
    named = pc.fill_null(pc.equal(pc.binary_length(names), DIGITS), False)
    padded = names if pc.all(named).as_py() else pc.if_else(named, names, "0" * DIGITS)
    begin, data = padded.offset, padded.buffers()[2]
    offset = int(np.frombuffer(padded.buffers()[1], np.int32)[begin])
    text = np.frombuffer(data, np.uint8, len(names) * DIGITS, offset)
    values = _VALUES[text].reshape(-1, DIGITS)
    right = (values < 16).all(axis=1) & np.asarray(named.to_numpy(zero_copy_only=False), bool)
    pairs = (values[:, ::2] << 4) | (values[:, 1::2] & 15)
    return np.ascontiguousarray(pairs).view(">u8").ravel().astype(np.uint64), right


def _array(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    return rows.column(name).to_numpy()  # type: ignore[no-any-return]


def _flow(rows: list[dict[str, Any]]) -> FlowSummary:
    """What a flow says, from its rows."""
    return FlowSummary.of(
        (
            Threshold(row["epsilon"], row["status"], row["time"], row["max_sharpness"])
            for row in sorted(rows, key=lambda row: -float(row["epsilon"]))
        ),
        gradients=max(row["gradients"] for row in rows),
        hvps=max(row["hvps"] for row in rows),
        wall_s=rows[0]["wall_s"],
        init_sharpness=rows[0]["init_sharpness"],
    )
