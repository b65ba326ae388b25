"""The trials of a run directory as arrays, each with its column and threshold and its fate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator.analysis.across.codes import Codes, Flags, Numbers, codes, numbers, together
from orchestrator.analysis.fates import CHAOTIC, FATES, SETTLED, accidental, first_fates
from orchestrator.store import EXCLUDED, TRIALS

READ = (
    *("trial_id", "column_id", "epsilon", "kind", "status", "eta", "s_gf", "sharpness"),
    *("sharpness_converged", "l1_norm", "test_loss"),
)
"""What of ``trials`` the table of phases needs."""


@dataclass(frozen=True)
class Runs:
    """GD runs: ``trial`` is a row of the trials, ``place`` a row of the places; shape (runs,)."""

    trial: Codes
    place: Codes
    eta: Numbers
    sharpness: Numbers
    l1_norm: Numbers
    test_loss: Numbers
    fate: Codes

    def chosen(self, which: Flags) -> Runs:
        """Those of them for which ``which`` is true."""
        return replace(self, **{name: values[which] for name, values in vars(self).items()})

    def settled(self) -> Runs:
        """Those that count."""
        return self.chosen(self.fate == FATES.index(SETTLED))


@dataclass(frozen=True)
class Places:
    """Each (column_id, epsilon) in that order, and what its flow says; shape (places,).

    ``predicted`` is 2/s_gf. What is not known, or the flow did not reach, is NaN; so are both of a
    flow whose S there has not converged.
    """

    keys: pa.Table
    predicted: Numbers
    flow_sharpness: Numbers
    flow_l1: Numbers

    def __len__(self) -> int:
        return len(self.predicted)


def read(trials: pa.Table) -> tuple[Places, Runs]:
    """The places and the GD runs of a table with the columns :data:`READ`."""
    keys, place = _places(trials)
    status = trials["status"].to_numpy(zero_copy_only=False)
    is_flow = trials["kind"].to_numpy(zero_copy_only=False) == "flow"
    converged, unknown = _flags(trials["sharpness_converged"])
    reached = np.flatnonzero(is_flow & (status == "reached"))
    places = _with_flows(keys, trials, place, reached, converged | unknown)
    gd = np.flatnonzero(~is_flow)
    eta, sharpness, l1_norm, test_loss = (
        numbers(trials[name])[gd] for name in ("eta", "sharpness", "l1_norm", "test_loss")
    )
    fate = first_fates(status[gd], eta, sharpness, converged[gd])
    left = np.flatnonzero(fate == FATES.index(SETTLED))
    accident = accidental(
        eta[left], sharpness[left], places.predicted, place[gd][left], len(places)
    )
    fate[left[accident]] = FATES.index(CHAOTIC)
    return places, Runs(gd, place[gd], eta, sharpness, l1_norm, test_loss, fate)


def as_trials(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table with the columns :data:`READ`; what a row has not got is NULL."""
    schema = pa.schema([TRIALS.field(name) for name in READ])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def excluded_table(trials: pa.Table, runs: Runs) -> pa.Table:
    """A row per GD run that does not count, as in :data:`orchestrator.store.EXCLUDED`."""
    left_out = runs.chosen(runs.fate != FATES.index(SETTLED))
    names = pa.array(FATES, type=pa.string()).take(pa.array(left_out.fate))
    found = trials.select(["trial_id", "column_id", "epsilon"]).take(pa.array(left_out.trial))
    table = found.append_column("why", names).select(EXCLUDED.names).cast(EXCLUDED)
    return table.sort_by([(name, "ascending") for name in ("column_id", "epsilon", "trial_id")])


def _flags(column: pa.ChunkedArray) -> tuple[Flags, Flags]:
    """Where a column is true, and where it is NULL."""
    values = column.combine_chunks()
    true, null = (
        np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)
        for flags in (values.fill_null(False), values.is_null())
    )
    return true, null


def _places(trials: pa.Table) -> tuple[pa.Table, Codes]:
    group = together([codes(trials["column_id"]), codes(trials["epsilon"])], len(trials))
    first = np.unique(group, return_index=True)[1]
    keys = trials.select(["column_id", "epsilon"]).take(pa.array(first))
    keys = keys.append_column("number", pa.array(np.arange(len(keys))))
    keys = keys.sort_by([("column_id", "ascending"), ("epsilon", "ascending")])
    rank = np.empty(len(keys), dtype=np.int64)
    rank[keys["number"].to_numpy()] = np.arange(len(keys))
    return keys.drop_columns("number"), rank[group]


def _with_flows(
    keys: pa.Table, trials: pa.Table, place: Codes, flow: Codes, converged: Flags
) -> Places:
    def known(name: str) -> Numbers:
        values = np.full(len(keys), np.nan)
        values[place[flow]] = numbers(trials[name])[flow]
        return values

    s_gf, sharpness = known("s_gf"), known("sharpness")
    doubtful = place[flow[~converged[flow]]]
    s_gf[doubtful] = sharpness[doubtful] = np.nan
    predicted = np.full(len(keys), np.nan)
    positive = np.isfinite(s_gf) & (s_gf > 0)
    predicted[positive] = 2 / s_gf[positive]
    return Places(keys, predicted, sharpness, known("l1_norm"))
