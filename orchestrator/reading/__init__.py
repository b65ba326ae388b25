"""A run directory for users of Python: its tables as Arrow, pandas and DuckDB, and as files."""

from orchestrator.reading.exports import Exported, ExportError, Format, check_export, export
from orchestrator.reading.run import NotARunError, Run, open_run
from orchestrator.reading.states import NoStateError
from orchestrator.store.schema import SCHEMAS, UnknownTableError

TABLES = tuple(SCHEMAS)
"""The names of all tables."""

__all__ = [
    "TABLES",
    "ExportError",
    "Exported",
    "Format",
    "NoStateError",
    "NotARunError",
    "Run",
    "UnknownTableError",
    "check_export",
    "export",
    "open_run",
]
