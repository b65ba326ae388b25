"""The rows of ``trials`` as arrays: each place with its flow, and GD with its exclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.records import OFF_THE_EDGE
from orchestrator.analysis.bounds import ABOVE, FAR, TOO_SHARP
from orchestrator.analysis.grouped import Codes, Flags, Numbers, codes, medians, numbers, together
from orchestrator.analysis.kink import Kinks, fitted_kinks
from orchestrator.store import EXCLUDED, TRIALS

EXCLUSIONS = INCLUDED, DIVERGED, SHORT, UNMEASURED, UNCONVERGED, CHANCE_CROSSING = (
    *("included", "diverged", "short", "unmeasured", "unconverged", "chance_crossing"),
)
"""INCLUDED counts; of the reasons why a row does not, the first that applies, in this order."""

READ = (
    *("trial_id", "column_id", "epsilon", "kind", "status", "eta", "s_gf", "sharpness"),
    *("sharpness_converged", "l1_norm", "test_loss"),
)
"""What of ``trials`` the table of phases needs."""


@dataclass(frozen=True)
class GdRows:
    """Rows of GD: ``row`` is that of the trials, ``place`` that of the places; shape (rows,).

    ``exclusion`` is an index of EXCLUSIONS.
    """

    row: Codes
    place: Codes
    eta: Numbers
    sharpness: Numbers
    l1_norm: Numbers
    test_loss: Numbers
    exclusion: Codes

    def chosen(self, which: Flags) -> GdRows:
        """Those of them for which ``which`` is true."""
        return replace(self, **{name: values[which] for name, values in vars(self).items()})

    def included(self) -> GdRows:
        """Those that count."""
        return self.chosen(self.exclusion == EXCLUSIONS.index(INCLUDED))


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


def read(trials: pa.Table) -> tuple[Places, GdRows]:
    """The places and the rows of GD of a table with the columns :data:`READ`."""
    keys, place = _places(trials)
    status = trials["status"].to_numpy(zero_copy_only=False)
    is_flow = trials["kind"].to_numpy(zero_copy_only=False) == "flow"
    known_converged = numbers(trials["sharpness_converged"])
    converged, doubtful = known_converged == 1, known_converged == 0
    reached = np.flatnonzero(is_flow & (status == "reached"))
    places = _with_flows(keys, trials, place, reached, doubtful)
    gd = np.flatnonzero(~is_flow)
    eta, sharpness, l1_norm, test_loss = (
        numbers(trials[name])[gd] for name in ("eta", "sharpness", "l1_norm", "test_loss")
    )
    exclusion = _exclusions(status[gd], eta, sharpness, converged[gd])
    left = np.flatnonzero(exclusion == EXCLUSIONS.index(INCLUDED))
    by_chance = _by_chance(eta[left], sharpness[left], places.predicted, place[gd][left])
    exclusion[left[by_chance]] = EXCLUSIONS.index(CHANCE_CROSSING)
    return places, GdRows(gd, place[gd], eta, sharpness, l1_norm, test_loss, exclusion)


def exclusions_of(rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """One of EXCLUSIONS for each row of ``trials`` that is of GD, None for a flow.

    The rows are all that there are of their columns and thresholds, since a crossing is judged by
    those beside it; the reasons are those of ``analysis/excluded.parquet``.
    """
    schema = pa.schema([TRIALS.field(name) for name in READ])
    _, gd = read(pa.Table.from_pylist([dict(row) for row in rows], schema=schema))
    found: list[str | None] = [None] * len(rows)
    for row, exclusion in zip(gd.row.tolist(), gd.exclusion.tolist(), strict=True):
        found[row] = EXCLUSIONS[exclusion]
    return found


def excluded_table(trials: pa.Table, gd: GdRows) -> pa.Table:
    """A row per row of GD that does not count, as in :data:`orchestrator.store.EXCLUDED`."""
    left_out = gd.chosen(gd.exclusion != EXCLUSIONS.index(INCLUDED))
    names = pa.array(EXCLUSIONS, type=pa.string()).take(pa.array(left_out.exclusion))
    found = trials.select(["trial_id", "column_id", "epsilon"]).take(pa.array(left_out.row))
    table = found.append_column("why", names).select(EXCLUDED.names).cast(EXCLUDED)
    return table.sort_by([(name, "ascending") for name in ("column_id", "epsilon", "trial_id")])


def critical_rates(predicted: Numbers, fitted: Kinks) -> Numbers:
    """η_c of each place: the predicted one, and the fitted one where there is none."""
    return np.where(np.isfinite(predicted), predicted, fitted.eta_c)


def _exclusions(
    status: np.ndarray[tuple[int], np.dtype[np.object_]],
    eta: Numbers,
    sharpness: Numbers,
    converged: Flags,
) -> Codes:
    """The exclusion of each row by what it alone tells; all of shape (rows,)."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(eta) & (eta > 0) & np.isfinite(sharpness) & (sharpness > 0)
        off_the_edge = sharpness * eta / 2 > OFF_THE_EDGE
    rules = {
        DIVERGED: status == "diverged",
        SHORT: status != "reached",
        UNMEASURED: ~known,
        UNCONVERGED: ~converged,
        CHANCE_CROSSING: off_the_edge,
    }
    numbered = [EXCLUSIONS.index(name) for name in rules]
    return np.select(list(rules.values()), numbered, 0).astype(np.int64)


def _by_chance(eta: Numbers, sharpness: Numbers, predicted: Numbers, place: Codes) -> Flags:
    """Which of the rows that reached ε are chance crossings, judged by their neighbours.

    GD leaves every minimum where S·η/2 is above 1, and far above η_c may be thrown below ε there.
    A crossing is by chance if S·η/2 exceeds OFF_THE_EDGE; or if η exceeds FAR·η_c and S·η/2
    exceeds TOO_SHARP times the typical one at the edge of its place, or TOO_SHARP where that is
    less than 1. Typical is the median over η from ABOVE·η_c to FAR·η_c, or over all above where
    there are none. η_c is ``predicted`` (places,), or the fitted one where that is NaN. ``eta``,
    ``sharpness`` and ``place`` have shape (rows,); values are positive.
    """
    ratio, n = sharpness * eta / 2, len(predicted)
    rest = np.flatnonzero(ratio <= OFF_THE_EDGE)
    blind = rest[np.isnan(predicted[place[rest]])]
    critical = critical_rates(
        predicted, fitted_kinks(eta[blind], sharpness[blind], place[blind], n)
    )
    edge = rest[eta[rest] > ABOVE * critical[place[rest]]]
    near = edge[eta[edge] <= FAR * critical[place[edge]]]
    found = [medians(ratio[some], place[some], n) for some in (near, edge)]
    typical = np.fmax(1.0, np.where(np.isfinite(found[0]), *found))
    far: Flags = (eta > FAR * critical[place]) & (ratio > TOO_SHARP * typical[place])
    return far | (ratio > OFF_THE_EDGE)


def _places(trials: pa.Table) -> tuple[pa.Table, Codes]:
    """The distinct (column_id, epsilon) in order, and which of them each row of trials is at."""
    group = together([codes(trials["column_id"]), codes(trials["epsilon"])], len(trials))
    first = np.unique(group, return_index=True)[1]
    keys = trials.select(["column_id", "epsilon"]).take(pa.array(first))
    keys = keys.append_column("number", pa.array(np.arange(len(keys))))
    keys = keys.sort_by([("column_id", "ascending"), ("epsilon", "ascending")])
    rank = np.empty(len(keys), dtype=np.int64)
    rank[keys["number"].to_numpy()] = np.arange(len(keys))
    return keys.drop_columns("number"), rank[group]


def _with_flows(
    keys: pa.Table, trials: pa.Table, place: Codes, flow: Codes, doubtful: Flags
) -> Places:
    def known(name: str) -> Numbers:
        values = np.full(len(keys), np.nan)
        values[place[flow]] = numbers(trials[name])[flow]
        return values

    s_gf, sharpness = known("s_gf"), known("sharpness")
    unknown = place[flow[doubtful[flow]]]
    s_gf[unknown] = sharpness[unknown] = np.nan
    predicted = 2 / np.where(s_gf > 0, s_gf, np.nan)
    return Places(keys, predicted, sharpness, known("l1_norm"))
