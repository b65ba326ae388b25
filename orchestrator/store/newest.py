"""Which rows count when a trial was computed more than once: those of its newest attempt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def newest_rows(
    rows: pa.Table, lengths: Sequence[int], key: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Mark the rows that count, so that each key's rows come whole from one attempt in one file.

    ``rows`` holds the columns trial_id and attempt of several files, one after the other, the file
    at i with ``lengths[i]`` rows. Of the files and attempts that hold rows of a key, the highest
    attempt counts, and among equal attempts the last file.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    trial = _codes(rows.column("trial_id"))
    attempt = rows.column("attempt").to_numpy()
    file = np.repeat(np.arange(len(lengths)), lengths)
    attempts, attempt_rank = np.unique(attempt, return_inverse=True)
    code = trial * len(attempts) + attempt_rank if "attempt" in key else trial
    rank = attempt_rank * len(lengths) + file
    newest = np.full(int(code.max()) + 1, -1, dtype=np.int64)
    np.maximum.at(newest, code, rank)
    counts: npt.NDArray[np.bool_] = rank == newest[code]
    return counts


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def all_but(dropped: pa.Table) -> pc.Expression:
    """A filter for the rows of other (trial_id, attempt) than those in ``dropped``."""
    keep = pc.scalar(True)
    attempts = dropped.column("attempt")
    for attempt in attempts.unique().to_pylist():
        trials = dropped.filter(pc.equal(attempts, attempt)).column("trial_id").unique()
        same = (pc.field("attempt") == attempt) & pc.field("trial_id").isin(trials)
        keep = keep & ~same
    return keep
