"""From the trials of a run directory to the tables in its folder ``analysis``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.agreement import agreement_table
from orchestrator.analysis.by_column import READ as READ_OF_COLUMNS
from orchestrator.analysis.by_column import by_column
from orchestrator.analysis.columns import NEEDED, columns_table
from orchestrator.analysis.crossing_statements import READ as READ_FURTHER
from orchestrator.analysis.crossing_statements import (
    READ_MEASURES,
    of_crossings,
    rates_of_truth,
)
from orchestrator.analysis.crossings import READ, excluded_table, read
from orchestrator.analysis.dependence import dependence_table
from orchestrator.analysis.growth import READ as READ_OF_GROWTH
from orchestrator.analysis.growth import growth_table
from orchestrator.analysis.phase import PhaseRow, phase_table
from orchestrator.analysis.predictions import READ as READ_OF_PREDICTIONS
from orchestrator.analysis.predictions import predictions_tables
from orchestrator.analysis.statements import Evaluation, findings_table, of_tables
from orchestrator.analysis.trends import trends_table
from orchestrator.analysis.valleys import over_seeds
from orchestrator.store import ANALYSIS, Store, StoreError, write_table
from orchestrator.store.files import file_errors
from orchestrator.store.parts import UnreadableError, VanishedError, read_notes

READ_TRIALS = tuple(
    dict.fromkeys(
        [
            *(*READ, *READ_OF_COLUMNS, *NEEDED, *READ_FURTHER, *READ_OF_GROWTH),
            *READ_OF_PREDICTIONS,
        ]
    )
)
"""What of ``trials`` an analysis needs."""

READ_FROM = "eos.read_from"
"""The key of a table's metadata that says of which files of trials it is, and by which rules."""


@dataclass(frozen=True)
class Analysis:
    """The tables of an analysis by name, as in :data:`orchestrator.store.ANALYSIS`."""

    tables: dict[str, pa.Table]

    @cached_property
    def phases(self) -> list[PhaseRow]:
        """The rows of ``phase``, in the order of column_id and epsilon."""
        return [PhaseRow(**row) for row in self.tables["phase"].to_pylist()]


def analyze(run: Path) -> Analysis:
    """Analyse the trials so far, and write the tables.

    Each replaces its file in ``<run>/analysis`` in one step, so this may run while trials do.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
    """
    read_from = _sources(run)
    analysis = compute(run)
    folder = run / "analysis"
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    for name, schema in ANALYSIS.items():
        write_table(
            folder / f"{name}.parquet", analysis.tables[name], schema, {READ_FROM: read_from}
        )
    return analysis


def compute(run: Path) -> Analysis:
    """Analyse the trials so far; nothing is written.

    Raises:
        FileNotFoundError: there is no such run directory.
    """
    store = Store(run)
    trials, measures = store.table("trials", READ_TRIALS), store.table("measures", READ_MEASURES)
    return Analysis(judged(trials, measures)[0])


def judged(
    trials: pa.Table, measures: pa.Table
) -> tuple[dict[str, pa.Table], dict[str, Evaluation]]:
    """The tables of an analysis by name, and the evaluated statements by id.

    ``trials`` needs the columns :data:`READ_TRIALS`, ``measures`` :data:`READ_MEASURES`.
    """
    growth, central = growth_table(trials), trials.filter(pc.equal(trials["kind"], "central"))
    trials = by_column(trials)
    places, gd = read(trials)
    of_places, valleys = over_seeds(trials, places, gd)
    phase = phase_table(places, gd, of_places)
    tables = {"phase": phase, "excluded": excluded_table(trials, gd), "valleys": valleys}
    tables |= across(trials, phase)
    found = of_tables(tables) | of_crossings(trials, measures, places, gd, phase)
    tables |= {"findings": findings_table(found), "growth": growth}
    truth = rates_of_truth(trials, places)
    return tables | predictions_tables(trials, central, places, gd, truth), found


def across(trials: pa.Table, phase: pa.Table) -> dict[str, pa.Table]:
    """The tables ``columns``, ``dependence``, ``trends`` and ``agreement``."""
    columns = columns_table(trials)
    dependence = dependence_table(columns, phase)
    return {
        "columns": columns,
        "dependence": dependence,
        "trends": trends_table(dependence),
        "agreement": agreement_table(columns, phase),
    }


def is_current(run: Path) -> bool:
    """Whether an analysis is there, by these rules, that can be read, and of all trials of now."""
    expected = _sources(run).encode()
    try:
        notes = [
            read_notes(run / "analysis" / f"{name}.parquet", schema)
            for name, schema in ANALYSIS.items()
        ]
    except (UnreadableError, VanishedError, StoreError):
        return False
    return all(note.get(READ_FROM.encode()) == expected for note in notes)


def _sources(run: Path) -> str:
    """What stands for the files of trials that are there, since a part never changes its content,
    and for the rules, which are those of this package's code.
    """
    names = sorted(path.name for path in (run / "trials").glob("*.parquet"))
    return hashlib.sha256("\n".join([_rules(), *names]).encode()).hexdigest()


@cache
def _rules() -> str:
    """The digest of the code of this package."""
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return hashlib.sha256(b"".join(code)).hexdigest()
