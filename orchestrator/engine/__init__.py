"""The execution of a sweep by Ray Tune: feed, trial actor, failure policy, orderly end."""

from orchestrator.engine.fitting import fitting, refuse_unfit
from orchestrator.engine.growth import Growth
from orchestrator.engine.interruption import Stop
from orchestrator.engine.networks import network_errors
from orchestrator.engine.run import RunOutcome, execute, prepare, refuse_unfit_directory
from orchestrator.engine.sinks import MissingPackageError, Sink, refuse_missing
from orchestrator.engine.site import Site
from orchestrator.engine.snapshot import Snapshot
from orchestrator.engine.timing import timed_for
from orchestrator.engine.work import Running

__all__ = [
    "Growth",
    "MissingPackageError",
    "RunOutcome",
    "Running",
    "Sink",
    "Site",
    "Snapshot",
    "Stop",
    "execute",
    "fitting",
    "network_errors",
    "prepare",
    "refuse_missing",
    "refuse_unfit",
    "refuse_unfit_directory",
    "timed_for",
]
