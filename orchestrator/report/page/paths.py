"""Runs in time, with as few points as a screen needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.report.figures.trajectories import chosen_runs, thinned
from orchestrator.report.marks import MARKS
from orchestrator.report.series import Row
from orchestrator.report.tables import Array, Column, Tables
from orchestrator.store import query

MOST_POINTS, LEAST_POINTS = 200, 40
"""Of a run."""

ALL_POINTS = 300_000
"""Of all runs together: more runs have fewer points each, down to ``LEAST_POINTS``."""

_AT_ONCE = 500
"""Runs whose recorded steps are in memory together."""

_DIGITS = 4
_FIELDS = ("step", "time", "train_loss", "sharpness")


def paths(tables: Tables, columns: Sequence[Column]) -> dict[str, Any]:
    """The runs near η_c of each column, as ``runs``, with ``most``, the points that one may have.

    Which runs these are is said by :func:`orchestrator.report.figures.trajectories.chosen_runs`.
    Points are the lowest and the highest sharpness of every short stretch.
    """
    chosen = [(n, row) for n, one in enumerate(columns) for row in chosen_runs(tables.trials(one))]
    most = max(LEAST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, len(chosen))))
    runs = []
    for start in range(0, len(chosen), _AT_ONCE):
        some = chosen[start : start + _AT_ONCE]
        steps = _recorded(tables, [row["trial_id"] for _, row in some])
        runs += [
            {"column": number, **_run(row, steps[row["trial_id"]], most)}
            for number, row in some
            if row["trial_id"] in steps
        ]
    return {"most": most, "runs": [run for run in runs if run["time"]]}


def _recorded(tables: Tables, trial_ids: Sequence[str]) -> dict[str, Mapping[str, Array]]:
    """The recorded steps of trials in their order, by trial."""
    if not trial_ids:
        return {}
    wanted = ", ".join("'" + one.replace("'", "''") + "'" for one in sorted(set(trial_ids)))
    table = query(
        tables.run,
        f"SELECT trial_id, {', '.join(_FIELDS)} FROM trajectories WHERE trial_id IN ({wanted}) "
        "ORDER BY trial_id, step",
    )
    if not len(table):
        return {}
    trials = table.column("trial_id").combine_chunks().dictionary_encode()
    names, codes = trials.dictionary.to_pylist(), trials.indices.to_numpy()
    numbers = {name: table.column(name).to_numpy().astype(np.float64) for name in _FIELDS}
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]).tolist()
    return {
        names[codes[start]]: {name: of[start:stop] for name, of in numbers.items()}
        for start, stop in zip(starts, [*starts[1:], len(codes)], strict=True)
    }


def _run(row: Row, steps: Mapping[str, Array], most: int) -> dict[str, Any]:
    places = np.arange(len(steps["step"]), dtype=np.float64)
    kept = thinned(places, steps["sharpness"], most)[0].astype(int)
    return {
        "eta": _short(row["eta"]),
        "fate": None if row["fate"] is None else list(MARKS).index(row["fate"]),
        "ratio": None if row["eta"] is None else _short(row["eta"] / row["eta_c"]),
        **{
            name: [_short(value) for value in steps[name][kept].tolist()]
            for name in ("time", "sharpness", "train_loss")
        },
    }


def _short(value: float | None) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
