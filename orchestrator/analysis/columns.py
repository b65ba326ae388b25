"""The columns of a run: which problem each is about, and a short text that tells it apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.spec.dataset_name import short_dataset
from jobs.spec.network_name import short_name
from orchestrator.analysis.grouped import codes, distinct_per_group, together
from orchestrator.store import COLUMN_FIELDS, COLUMNS

NEEDED: tuple[str, ...] = ("column_id", "trial_id", "epsilon", *COLUMN_FIELDS)
"""What :func:`columns_table` reads of ``trials``."""

_MEASURED_IN = {"n_train": "n", "width": "width", "depth": "depth", "seed": "seed"} | {
    "init_scale": "init scale",
    "weight_decay": "weight decay",
    "base_width": "base width",
    "momentum": "β",
    "beta2": "β₂",
    "damping": "δ",
    "start": "from",
}
"""The words before numbers; text speaks for itself."""

_FOLLOWING = ("dtype", "subset", "normalization", "base_width", "beta2", "damping")
"""Fields that mostly follow from others, as the normalization does from the dataset: a label has
them only if it needs them."""


def columns_table(trials: pa.Table) -> pa.Table:
    """A row per column_id, in that order, as in :data:`orchestrator.store.COLUMNS`.

    ``trials`` needs the columns :data:`NEEDED`.
    """
    column = codes(trials["column_id"])
    _, first, place = np.unique(column, return_index=True, return_inverse=True)
    counts = {
        "n_trials": distinct_per_group(place, codes(trials["trial_id"]), len(first)),
        "n_epsilon": distinct_per_group(place, codes(trials["epsilon"]), len(first)),
    }
    table = trials.select(["column_id", *COLUMN_FIELDS]).take(first)
    for name, values in counts.items():
        table = table.append_column(name, pa.array(values, type=pa.int64()))
    table = table.append_column("label", pa.array(labels(table), type=pa.string()))
    return table.select(COLUMNS.names).cast(COLUMNS).sort_by("column_id")


def labels(columns: pa.Table) -> list[str]:
    """For each row the values of the fields that vary, such as ``width 64 · mup · seed 1``.

    Where nothing varies it is the dataset and the architecture; where columns have equal problems,
    as under two protocols, the beginning of their column_id follows.
    """
    named = _varying(columns) or ["dataset", "architecture"]
    values = [columns[name].to_pylist() for name in named]
    plain = [_label(named, row) for row in zip(*values, strict=True)]
    often = Counter(plain)
    return [
        text if often[text] == 1 else f"{text} · {column_id[:8]}"
        for text, column_id in zip(plain, columns["column_id"].to_pylist(), strict=True)
    ]


def _varying(columns: pa.Table) -> list[str]:
    """The fields that vary, without those that merely follow from the others."""
    encoded = {name: codes(columns[name]) for name in COLUMN_FIELDS}
    varying = [name for name in COLUMN_FIELDS if len(np.unique(encoded[name])) > 1]
    kept = [name for name in varying if name not in _FOLLOWING]
    told_apart = together([encoded[name] for name in kept], len(columns))
    for name in varying:
        if name in kept:
            continue
        finer = together([told_apart, encoded[name]], len(columns))
        if len(np.unique(finer)) > len(np.unique(told_apart)):
            kept, told_apart = [*kept, name], finer
    return kept


def _label(named: Sequence[str], values: Sequence[Any]) -> str:
    """The values in words; NULL, which is a field that the problem has not got, says nothing."""
    words = [
        " ".join(filter(None, (_MEASURED_IN.get(name), spelled(value))))
        for name, value in zip(named, values, strict=True)
        if value is not None
    ]
    return " · ".join(words)


def spelled(value: object, *, whole: bool = False) -> str:
    """A value as text: numbers short where that is exact; a network or data of a user's own by
    their file, which other content may have too, unless ``whole``.

    >>> spelled(0.5), spelled(64), spelled("net.py:build(width)@0123456789abcdef")
    ('0.5', '64', 'net.py:build')
    """
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = str(value)
    return text if whole else short_name(short_dataset(text))
