"""Statements that single crossings of GD decide: their S, norms, risks, and further measures.

Each is asked only where there is data for it: of a column without a known truth, or of a run
without further measures, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import SpecError
from jobs.spec.dataset_name import parse
from orchestrator.analysis.bounds import (
    ABOVE,
    APART,
    BELOW,
    DEEP_ENOUGH,
    FALLEN,
    LEAST_FOR_VALLEY,
    SAME_NORM,
    SAME_SHARPNESS,
    TRUTH,
)
from orchestrator.analysis.crossings import GdRows, Places
from orchestrator.analysis.grouped import (
    Codes,
    Flags,
    Numbers,
    at,
    codes,
    distinct_per_group,
    extremes,
    firsts,
    medians,
    numbers,
    together,
)
from orchestrator.analysis.phase import growth
from orchestrator.analysis.statements import PLACES, Statement

READ = ("steps", "distance_from_init", "distance_from_flow")
"""What these statements need of ``trials`` besides what the table of phases does."""

READ_MEASURES = ("trial_id", "epsilon", "point", "measure", "layer", "value")

FALLING = {
    "trace": "trace",
    "frobenius": "Frobenius norm",
    "adaptive_sharpness": "adaptive sharpness",
    "average_sharpness": "average sharpness",
}
"""The further measures of which it is asked whether they fall above η_c."""


@dataclass(frozen=True)
class _Gd:
    """The rows of GD that count, with η/η_c of each and η_c of each place; as sequences (rows,)."""

    rows: GdRows
    eta_c: Numbers

    @property
    def ratio(self) -> Numbers:
        return np.asarray(self.rows.eta / self.eta_c[self.rows.place])

    def largest(self, values: Numbers) -> Numbers:
        """The largest known value of each place."""
        known = np.isfinite(values)
        return extremes(values[known], self.rows.place[known], len(self.eta_c))[1]

    def there(self, values: Numbers) -> Flags:
        """The places at which any value is known."""
        known = self.rows.place[np.isfinite(values)]
        return np.bincount(known, minlength=len(self.eta_c)) > 0


def of_crossings(
    trials: pa.Table, measures: pa.Table, places: Places, gd: GdRows, phase: pa.Table
) -> Iterator[Statement]:
    """The statements; ``measures`` needs the columns :data:`READ_MEASURES`."""
    predicted, fitted = numbers(phase["eta_c"]), numbers(phase["eta_c_fitted"])
    of_gd = _Gd(gd.included(), np.where(np.isfinite(predicted), predicted, fitted))
    yield from _of_flow(trials, places, of_gd)
    yield _stops_early(trials, of_gd.rows)
    yield from _of_risk(trials, places, of_gd, numbers(phase["eta_best"]))
    yield from _of_measures(trials, measures, of_gd)


def _of_flow(trials: pa.Table, places: Places, gd: _Gd) -> Iterator[Statement]:
    for statement_id, name, values, flow, bound in (
        ("flow_sharpness", "sharpness", gd.rows.sharpness, places.flow_sharpness, SAME_SHARPNESS),
        ("flow_norm", "ℓ1 norm", gd.rows.l1_norm, places.flow_l1, SAME_NORM),
    ):
        off = np.abs(values / flow[gd.rows.place] - 1)
        yield Statement(
            statement_id,
            f"Below η_c the final {name} of every trial is the flow's.",
            f"largest relative difference of the {name} from the flow's",
            gd.largest(np.where(gd.ratio < BELOW, off, np.nan)),
            0.0,
            bound,
        )
    apart, way = (
        numbers(trials[name])[gd.rows.row] for name in ("distance_from_flow", "distance_from_init")
    )
    there = gd.there(apart)
    share = np.where((gd.ratio < 1) & (way > 0), apart / np.where(way > 0, way, np.nan), np.nan)
    yield Statement(
        "apart_from_flow",
        "Below η_c GD is apart from the flow at equal time.",
        "largest distance from the flow over that from θ0",
        gd.largest(share)[there],
        APART,
        where=f"{PLACES} with distances from the flow",
    )


def _stops_early(trials: pa.Table, gd: GdRows) -> Statement:
    """Of each trial between neighbouring thresholds that it did not cross in one step."""
    known = gd.chosen(np.isfinite(gd.l1_norm))
    epsilon, steps = (numbers(trials[name])[known.row] for name in ("epsilon", "steps"))
    trial, column = (codes(trials[name])[known.row] for name in ("trial_id", "column_id"))
    column = together([column], len(column))
    n_columns = int(column.max(initial=-1)) + 1
    several = distinct_per_group(column, codes(pa.array(epsilon)), n_columns) > 1
    order = np.lexsort((-epsilon, trial))
    before, after = order[:-1], order[1:]
    later = (trial[after] == trial[before]) & (steps[after] > steps[before])
    before, after = before[later], after[later]
    ratio = known.l1_norm[after] / known.l1_norm[before]
    least = extremes(ratio, column[after], n_columns)[0][several]
    return Statement(
        "stops_early",
        "Stopped at a looser threshold, the same trial of GD has a smaller ℓ1 norm.",
        "least ℓ1 over that at the next looser ε",
        least,
        1.0,
        None,
        np.where(np.isnan(least), np.nan, least > 1),
        "columns at several thresholds",
    )


def _of_risk(trials: pa.Table, places: Places, gd: _Gd, best: Numbers) -> Iterator[Statement]:
    known = gd.rows.chosen(np.isfinite(gd.rows.test_loss))
    n = np.bincount(known.place, minlength=len(places))
    truth = _edge_of_truth(trials, places)
    there = np.isfinite(truth)
    yield Statement(
        "best_at_the_truth",
        "The test loss is least at η* = 2/S(β*), where the edge goes through the truth.",
        "best η over 2/S(β*)",
        np.where(n >= LEAST_FOR_VALLEY, best / truth, np.nan)[there],
        *TRUTH,
        where=f"{PLACES} with a known truth β*",
    )
    known = known.chosen(np.isfinite(known.l1_norm))
    n_known = np.bincount(known.place, minlength=len(places))
    least, at_least_norm, at_least_sharpness = (
        at(known.test_loss, firsts([key, known.eta], known.place, len(places)))
        for key in (known.test_loss, known.l1_norm, known.sharpness)
    )
    lower = np.fmin(at_least_norm, at_least_sharpness)
    share = np.where(lower > 0, least / np.where(lower > 0, lower, np.nan), 1.0)
    yield Statement(
        "neither_is_best",
        "Neither the least ℓ1 norm nor the least sharpness has the least test loss.",
        "least test loss over the lower one of those at the least norm and the least S",
        np.where(n_known >= LEAST_FOR_VALLEY, share, np.nan)[n > 0],
        0.0,
        1 / (1 + DEEP_ENOUGH),
        where=f"{PLACES} with a test loss",
    )


def _edge_of_truth(trials: pa.Table, places: Places) -> Numbers:
    """η* = 2/S(β*) of each place, NaN where the dataset has no known β*."""
    column = places.keys["column_id"]
    first = pc.index_in(column, value_set=trials["column_id"].combine_chunks())
    dataset = trials["dataset"].take(first).combine_chunks().dictionary_encode()
    found = np.array([*map(_edge_of, dataset.dictionary.to_pylist()), np.nan])
    return found[np.asarray(dataset.indices.fill_null(-1), dtype=np.int64)]


def _edge_of(dataset: str) -> float:
    from jobs.diagonal import sharpness

    try:
        options = parse(dataset).options
    except SpecError:  # of another version
        return np.nan
    if "x" not in options or "truth" not in options:
        return np.nan
    return 2 / float(sharpness(np.atleast_2d(options["x"]), options["truth"]))


def _of_measures(trials: pa.Table, measures: pa.Table, gd: _Gd) -> Iterator[Statement]:
    measured = _Measured(trials, measures, gd.rows.row)
    norm = measured.values("l1_norm", "mid")
    there = gd.there(norm)
    some = np.isfinite(norm) & (gd.ratio > 1)
    place, no_level = gd.rows.place[some], np.full(len(gd.eta_c), np.nan)
    rise = growth(gd.rows.eta[some], norm[some], place, gd.eta_c, no_level)
    slope = rise["l1_slope"] * gd.eta_c / medians(norm[some], place, len(gd.eta_c))
    yield Statement(
        "midpoint_norm_rises",
        "Above η_c the ℓ1 norm of the mean of the last two iterates rises with η.",
        "rise per η_c relative to the median norm above",
        np.where(np.isfinite(rise["l1_rises"]), slope, np.nan)[there],
        0.0,
        None,
        rise["l1_rises"][there],
        f"{PLACES} with norms of the midpoint",
    )
    for name, words in FALLING.items():
        values = measured.values(name, "end")
        there = gd.there(values)
        below, above = (np.isfinite(values) & side for side in (gd.ratio < BELOW, gd.ratio > ABOVE))
        level = medians(values[below], gd.rows.place[below], len(gd.eta_c))
        last = firsts([-gd.rows.eta[above]], gd.rows.place[above], len(gd.eta_c))
        yield Statement(
            f"{name}_falls",
            f"Above η_c the {words} is smaller than below.",
            f"{words} at the largest η over the median below η_c",
            (at(values[above], last) / level)[there],
            0.0,
            FALLEN,
            where=f"{PLACES} with a measured {words}",
        )


class _Measured:
    """The further measures of whole networks at some rows of trials."""

    def __init__(self, trials: pa.Table, measures: pa.Table, rows: Codes) -> None:
        whole = measures.filter(pc.is_null(measures["layer"]))
        name = ["trial_id", "epsilon"]
        both = pa.concat_tables([trials.select(name), whole.select(name)])
        key = together([codes(both["trial_id"]), codes(both["epsilon"])], len(both))
        self._n = int(key.max(initial=-1)) + 1
        self._wanted, self._key = key[: len(trials)][rows], key[len(trials) :]
        self._measures = whole

    def values(self, name: str, point: str) -> Numbers:
        """The value of a measure at each row, NaN where there is none; shape (rows,)."""
        whole = self._measures
        is_wanted = pc.and_(pc.equal(whole["measure"], name), pc.equal(whole["point"], point))
        which = np.flatnonzero(np.asarray(is_wanted, dtype=bool))
        found = np.full(self._n, np.nan)
        found[self._key[which]] = numbers(whole["value"].take(which))
        return found[self._wanted]
