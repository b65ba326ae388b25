"""The tables of a sweep, which are also its ledger: written whole, read by anything, merged.

>>> import tempfile
>>> from pathlib import Path
>>> run = Path(tempfile.mkdtemp()) / "first"
>>> create(run)
>>> _ = write_part(run, "attempts", "t1", [{"trial_id": "t1", "attempt": 1, "outcome": "settled"}])
>>> query(run, "SELECT trial_id, outcome FROM attempts").to_pylist()
[{'trial_id': 't1', 'outcome': 'settled'}]
"""

from orchestrator.store.compaction import Compaction, compact
from orchestrator.store.examples import Example, examples
from orchestrator.store.files import (
    LEASES,
    Identity,
    StoreError,
    atomic_write,
    create,
    identity,
    remove_orphaned_temporaries,
    set_aside,
    write_bytes_whole,
)
from orchestrator.store.read import News, Store
from orchestrator.store.schema import (
    AGREEMENT,
    ANALYSIS,
    ATTEMPTS,
    COLUMN_FIELDS,
    COLUMNS,
    DEPENDENCE,
    EXCLUDED,
    FINDINGS,
    GROWTH,
    MEASURES,
    PHASE,
    PREDICTIONS,
    PREDICTORS,
    PROBLEM_FIELDS,
    PROVENANCE,
    SPECTRA,
    STATES,
    TABLES,
    TRAINING_FIELDS,
    TRAJECTORIES,
    TRENDS,
    TRIALS,
    VALLEYS,
)
from orchestrator.store.selection import count_parts
from orchestrator.store.sql import (
    QueryError,
    connect,
    describe,
    query,
    render,
    save,
    select_rows,
)
from orchestrator.store.write import RowError, write_part, write_table

__all__ = [
    "AGREEMENT",
    "ANALYSIS",
    "ATTEMPTS",
    "COLUMNS",
    "COLUMN_FIELDS",
    "DEPENDENCE",
    "EXCLUDED",
    "FINDINGS",
    "GROWTH",
    "LEASES",
    "MEASURES",
    "PHASE",
    "PREDICTIONS",
    "PREDICTORS",
    "PROBLEM_FIELDS",
    "PROVENANCE",
    "SPECTRA",
    "STATES",
    "TABLES",
    "TRAINING_FIELDS",
    "TRAJECTORIES",
    "TRENDS",
    "TRIALS",
    "VALLEYS",
    "Compaction",
    "Example",
    "Identity",
    "News",
    "QueryError",
    "RowError",
    "Store",
    "StoreError",
    "atomic_write",
    "compact",
    "connect",
    "count_parts",
    "create",
    "describe",
    "examples",
    "identity",
    "query",
    "remove_orphaned_temporaries",
    "render",
    "save",
    "select_rows",
    "set_aside",
    "write_bytes_whole",
    "write_part",
    "write_table",
]
