"""Who works on what, and what is settled: claims, marks of running attempts, and the tables."""

from orchestrator.ledger.attempts import Row, attempt_row, commit_attempt, part_name, utc
from orchestrator.ledger.claims import HEARTBEAT_SECONDS, Claim, Claims, JobStart, read_claims
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
from orchestrator.ledger.outcomes import outcomes_of_rows

__all__ = [
    "HEARTBEAT_SECONDS",
    "Claim",
    "Claims",
    "JobStart",
    "Ledger",
    "Mark",
    "Row",
    "attempt_row",
    "commit_attempt",
    "mark_running",
    "outcomes_of_rows",
    "part_name",
    "read_claims",
    "read_marks",
    "rearm",
    "torn_marks",
    "unmark",
    "utc",
    "wait_for_death",
]
