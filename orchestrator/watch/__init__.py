"""Where a run stands, read off its directory again and again; nothing is written there."""

from orchestrator.watch.failures import Failure
from orchestrator.watch.view import ColumnLine, Jobs, RunningTrial, View
from orchestrator.watch.watcher import Watcher

__all__ = [
    "ColumnLine",
    "Failure",
    "Jobs",
    "RunningTrial",
    "View",
    "Watcher",
]
