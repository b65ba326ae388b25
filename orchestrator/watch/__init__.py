"""Where a run stands, looked at again and again: read off its directory, and never written."""

from orchestrator.watch.failures import Failure
from orchestrator.watch.view import ColumnLine, Columns, Jobs, RunningTrial, View
from orchestrator.watch.watcher import Watcher

__all__ = [
    "ColumnLine",
    "Columns",
    "Failure",
    "Jobs",
    "RunningTrial",
    "View",
    "Watcher",
]
