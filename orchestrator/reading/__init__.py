"""A run directory for users of Python: its tables as Arrow, pandas and DuckDB, and as files."""

from orchestrator.reading.files import Exported, ExportError, Format, export, refuse_unfit
from orchestrator.reading.names import SCHEMAS, UnknownTableError
from orchestrator.reading.run import NotARunError, Run, open_run

TABLES = tuple(SCHEMAS)
"""The names of all tables."""

__all__ = [
    "TABLES",
    "ExportError",
    "Exported",
    "Format",
    "NotARunError",
    "Run",
    "UnknownTableError",
    "export",
    "open_run",
    "refuse_unfit",
]
