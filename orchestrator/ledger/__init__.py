"""Who works on what, and what is settled: leases, marks of running attempts, and the tables."""

from orchestrator.ledger.attempts import Row, attempt_row, commit_attempt, part_name, utc
from orchestrator.ledger.leases import HEARTBEAT_SECONDS, JobStart, Lease, Leases, read_leases
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.marks import (
    Mark,
    mark_running,
    read_marks,
    rearm,
    torn_marks,
    unmark,
    wait_for_death,
)
from orchestrator.ledger.settled_trials import settled_trials_of_rows

__all__ = [
    "HEARTBEAT_SECONDS",
    "JobStart",
    "Lease",
    "Leases",
    "Ledger",
    "Mark",
    "Row",
    "attempt_row",
    "commit_attempt",
    "mark_running",
    "part_name",
    "read_leases",
    "read_marks",
    "rearm",
    "settled_trials_of_rows",
    "torn_marks",
    "unmark",
    "utc",
    "wait_for_death",
]
