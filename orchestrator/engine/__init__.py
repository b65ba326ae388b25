"""The execution of a sweep by Ray Tune: work queue, workers, failure policy, orderly end."""

from orchestrator.engine.capacity import columns_that_fit, refuse_too_large
from orchestrator.engine.executor import RunEnvironment
from orchestrator.engine.interruption import Stop
from orchestrator.engine.networks import network_errors
from orchestrator.engine.run import RunOutcome, execute
from orchestrator.engine.sinks import MissingPackageError, Sink, refuse_missing
from orchestrator.engine.sweep_file import GrowingSweep, check_directory, prepare
from orchestrator.engine.timing import timed_for
from orchestrator.engine.work import TrialProgress
from orchestrator.engine.work_queue import Snapshot

__all__ = [
    "GrowingSweep",
    "MissingPackageError",
    "RunEnvironment",
    "RunOutcome",
    "Sink",
    "Snapshot",
    "Stop",
    "TrialProgress",
    "check_directory",
    "columns_that_fit",
    "execute",
    "network_errors",
    "prepare",
    "refuse_missing",
    "refuse_too_large",
    "timed_for",
]
