"""SLURM's words for the state of a job, and what each says of it."""

from __future__ import annotations

from typing import Literal

Phase = Literal["pending", "running", "requeued", "ending", "ended", "unknown"]
"""Where a job stands: waiting for its first start, at work, waiting for another start, being
cleared away, over, or not to be known at the moment."""

LOST = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REQUEUED"})
"""What ends one start of a job, after which SLURM may put it back into the queue."""

_PHASES: dict[str, Phase] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "POWER_UP_NODE", "RESV_DEL_HOLD"), "pending"),
    **dict.fromkeys(("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"), "requeued"),
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"), "running"),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT"), "ending"),
    **dict.fromkeys(
        (
            "COMPLETED", "FAILED", "TIMEOUT", "DEADLINE", "CANCELLED", "OUT_OF_MEMORY", "PREEMPTED",
            "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED",
        ),
        "ended",
    ),
}  # fmt: skip


def phase_of(word: str) -> Phase:
    """The phase that a state word stands for; ``unknown`` for words of another version."""
    return _PHASES.get(word, "unknown")


def is_live(word: str) -> bool:
    """Whether a job in this state may still run: so may one whose state we do not know."""
    return phase_of(word) != "ended"
