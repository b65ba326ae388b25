"""Statements that single crossings of GD decide: their S, norms, risks, and further measures.

Each is asked only where there is data for it: of a column without a known truth, or of a run
without further measures, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import SpecError
from jobs.spec.dataset_name import parse
from orchestrator.analysis.bounds import ABOVE, BELOW, LEAST_FOR_VALLEY
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
from orchestrator.analysis.statements import FALLING, Evaluation

READ = ("steps", "distance_from_init", "distance_from_flow")
"""What these statements need of ``trials`` besides what the table of phases does."""

READ_MEASURES = ("trial_id", "epsilon", "point", "measure", "layer", "value")


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
) -> dict[str, Evaluation]:
    """The statements; ``measures`` needs the columns :data:`READ_MEASURES`."""
    predicted, fitted = numbers(phase["eta_c"]), numbers(phase["eta_c_fitted"])
    of_gd = _Gd(gd.included(), np.where(np.isfinite(predicted), predicted, fitted))
    return {
        "stops_early": _stops_early(trials, of_gd.rows),
        **_of_flow(trials, places, of_gd),
        **_of_risk(trials, places, of_gd.rows, numbers(phase["eta_best"])),
        **_of_measures(trials, measures, of_gd),
    }


def _of_flow(trials: pa.Table, places: Places, gd: _Gd) -> dict[str, Evaluation]:
    rows, below = gd.rows, gd.ratio < BELOW
    sharpness, norm = (
        gd.largest(np.where(below, np.abs(values / flow[rows.place] - 1), np.nan))
        for values, flow in (
            (rows.sharpness, places.flow_sharpness),
            (rows.l1_norm, places.flow_l1),
        )
    )
    apart, way = (
        numbers(trials[name])[rows.row] for name in ("distance_from_flow", "distance_from_init")
    )
    share = np.where((gd.ratio < 1) & (way > 0), apart / np.where(way > 0, way, np.nan), np.nan)
    return {
        "flow_sharpness": Evaluation(sharpness),
        "flow_norm": Evaluation(norm),
        "apart_from_flow": Evaluation(gd.largest(share)[gd.there(apart)]),
    }


def _stops_early(trials: pa.Table, gd: GdRows) -> Evaluation:
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
    return Evaluation(least, np.where(np.isnan(least), np.nan, least > 1))


def _of_risk(trials: pa.Table, places: Places, gd: GdRows, best: Numbers) -> dict[str, Evaluation]:
    known, n_places = gd.chosen(np.isfinite(gd.test_loss)), len(places)
    n = np.bincount(known.place, minlength=n_places)
    truth = rates_of_truth(trials, places)
    at_truth = np.where(n >= LEAST_FOR_VALLEY, best / truth, np.nan)[np.isfinite(truth)]
    known = known.chosen(np.isfinite(known.l1_norm))
    n_known = np.bincount(known.place, minlength=n_places)
    least, at_least_norm, at_least_sharpness = (
        at(known.test_loss, firsts([key, known.eta], known.place, n_places))
        for key in (known.test_loss, known.l1_norm, known.sharpness)
    )
    lower = np.fmin(at_least_norm, at_least_sharpness)
    share = np.where(lower > 0, least / np.where(lower > 0, lower, np.nan), 1.0)
    share = np.where(n_known >= LEAST_FOR_VALLEY, share, np.nan)[n > 0]
    return {"best_at_the_truth": Evaluation(at_truth), "neither_is_best": Evaluation(share)}


def rates_of_truth(trials: pa.Table, places: Places) -> Numbers:
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


def _of_measures(trials: pa.Table, measures: pa.Table, gd: _Gd) -> dict[str, Evaluation]:
    measured, n, place = _Measured(trials, measures, gd.rows.row), len(gd.eta_c), gd.rows.place
    norm = measured.values("l1_norm", "mid")
    there, some = gd.there(norm), np.isfinite(norm) & (gd.ratio > 1)
    level = medians(norm[some], place[some], n)
    rise = growth(gd.rows.eta[some], norm[some], place[some], gd.eta_c, level)
    rises = rise["l1_rises"][there]
    slope = np.where(np.isnan(rises), np.nan, (rise["l1_slope"] * gd.eta_c / level)[there])
    found = {"midpoint_norm_rises": Evaluation(slope, rises)}
    for name in FALLING:
        values = measured.values(name, "end")
        known = np.isfinite(values)
        below, above = known & (gd.ratio < BELOW), known & (gd.ratio > ABOVE)
        last = firsts([-gd.rows.eta[above]], place[above], n)
        ratio = at(values[above], last) / medians(values[below], place[below], n)
        found[f"{name}_falls"] = Evaluation(ratio[gd.there(values)])
    return found


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
