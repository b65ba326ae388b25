"""The execution of a sweep by Ray Tune: feed, trial actor, failure policy, orderly end."""

from orchestrator.engine.feed import Snapshot
from orchestrator.engine.run import RunOutcome, execute, prepare

__all__ = ["RunOutcome", "Snapshot", "execute", "prepare"]
