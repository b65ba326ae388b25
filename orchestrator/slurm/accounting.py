"""SLURM's accounting: every start of every job of a run, by one call of ``sacct``.

Many clusters keep none, and where there is one it lags and forgets. So it is a witness only: what
it does not know says nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from orchestrator.plan import FailureClass
from orchestrator.slurm.command import SEPARATOR, SlurmUnavailable, as_moment, ask, moment
from orchestrator.slurm.queue import LOST, is_live

FIELDS = ("JobID", "JobIDRaw", "State", "ExitCode", "Submit", "Start", "End", "Cluster", "NodeList")
SLACK_SECONDS = 3600.0
"""How much earlier than our oldest record is asked for, because clocks differ."""

ORDERLY = frozenset({0, 3, 130})
"""How ``eos run`` ends when it has said itself what became of its trials."""


CRASHES = frozenset({4, 6, 7, 8, 11})
"""Signals that a program brings upon itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV."""


@dataclass(frozen=True)
class Ending:
    """How a job or a step ended: SLURM's word, exit status and signal; ``by`` who cancelled it."""

    state: str
    status: int = 0
    signal: int = 0
    by: str | None = None

    @property
    def of_itself(self) -> bool:
        """Whether the program failed by what it did, not by what was done to it."""
        # A shell gives 128 and more for a signal.
        signal = self.signal or max(self.status - 128, 0)
        return signal in CRASHES or (self.status < 128 and self.status not in ORDERLY)

    def __str__(self) -> str:
        """In words, for people."""
        parts = [self.state]
        if self.by is not None:
            parts.append(f"by uid {self.by}")
        if self.status:
            parts.append(f"exit status {self.status}")
        # SLURM gives 125, which is no signal, where memory ran out.
        if self.signal and self.state != "OUT_OF_MEMORY":
            parts.append(f"signal {self.signal}")
        return ", ".join(parts)


@dataclass(frozen=True)
class AccountedStart:
    """One start of a job as ``sacct`` has it; times in seconds since the epoch.

    ``steps`` has the endings of its steps by their names, the batch script's as ``batch``.
    """

    job_id: str
    raw_id: str
    ending: Ending
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    cluster: str
    nodes: str | None
    steps: Mapping[str, Ending]

    @property
    def over(self) -> bool:
        """Whether this start has ended; the job may have been put back into the queue then."""
        return not is_live(self.ending.state) or self.ending.state in LOST

    @property
    def final(self) -> bool:
        """Whether the job itself has ended."""
        return self.over and self.ending.state not in LOST

    @property
    def bad_steps(self) -> dict[str, Ending]:
        """The steps that did not end as they should."""
        return {
            name: step
            for name, step in self.steps.items()
            if not is_live(step.state) and (step.state != "COMPLETED" or step.status or step.signal)
        }

    @property
    def failure_class(self) -> FailureClass | None:
        """The class of failure that this proves, if any.

        Who was preempted, cancelled or killed by nobody knows whom proves nothing of the trial.
        """
        words = {self.ending.state, *(step.state for step in self.steps.values())}
        if "OUT_OF_MEMORY" in words:
            return "out_of_memory"
        if self.ending.state in ("TIMEOUT", "DEADLINE"):
            return "time_limit"
        if words & {"NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"}:
            return "node_failure"
        if self.ending.state not in ("FAILED", "COMPLETED"):
            return None
        ends = (self.ending, *self.bad_steps.values())
        return "exception" if any(end.of_itself for end in ends) else None

    def __str__(self) -> str:
        """The evidence in words."""
        steps = [f"step {name} {step}" for name, step in self.bad_steps.items()]
        return "; ".join([str(self.ending), *steps])


@dataclass(frozen=True)
class Accounting:
    """What ``sacct`` knows: each job's starts in their order; ``silence`` why it knows nothing."""

    starts: Mapping[str, tuple[AccountedStart, ...]]
    silence: str | None = None

    def newest(self, job_id: str) -> AccountedStart | None:
        """The last start of a job."""
        starts = self.starts.get(job_id)
        return starts[-1] if starts else None


def read_accounting(
    since: float, names: Collection[str] | None, clusters: str | None = None
) -> Accounting:
    """What accounting knows of this user's jobs of these names, of all for None; never raises.

    ``since`` is the submission of the oldest. Never by a list of numbers: SLURM refuses long ones.
    """
    try:
        return Accounting(parse_accounting(ask("sacct", _arguments(since, names, clusters))))
    except SlurmUnavailable as error:
        if "accounting storage is disabled" in error.reason.lower():
            return Accounting({}, "this cluster keeps no accounting")
        return Accounting({}, error.reason)


def parse_accounting(text: str) -> dict[str, tuple[AccountedStart, ...]]:
    """The starts of each job in what ``sacct --duplicates`` printed, the newest last.

    A step belongs to the job's line above it.
    """
    starts: dict[str, list[AccountedStart]] = defaultdict(list)
    steps: dict[str, Ending] = {}
    for line in text.split("\n"):
        values = [value.strip() for value in line.split(SEPARATOR)]
        if len(values) != len(FIELDS):
            continue
        job_id, raw_id, state, code, submitted, began, ended, cluster, nodes = values
        ending = _ending(state, code)
        if "." in raw_id:
            name = raw_id.partition(".")[2]
            if name != "extern":
                steps[name] = ending
            continue
        steps = {}
        starts[job_id].append(
            AccountedStart(
                job_id=job_id,
                raw_id=raw_id,
                ending=ending,
                submitted_at=moment(submitted),
                started_at=moment(began),
                ended_at=moment(ended),
                cluster=cluster,
                nodes=None if nodes in ("", "None assigned") else nodes,
                steps=steps,
            )
        )
    return {job_id: tuple(sorted(some, key=_order)) for job_id, some in starts.items()}


def _order(start: AccountedStart) -> tuple[float, float]:
    """Requeueing sets a new time of submission; a start that is still to come is the newest."""
    last = float("inf")
    return (start.submitted_at or 0.0, last if start.started_at is None else start.started_at)


def _ending(state: str, code: str) -> Ending:
    word, _, rest = state.partition(" ")
    by = rest.removeprefix("by ").strip() or None
    status, _, signal = code.partition(":")
    return replace(Ending(word.rstrip("+"), by=by), status=_number(status), signal=_number(signal))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _arguments(since: float, names: Collection[str] | None, clusters: str | None) -> list[str]:
    return [
        *([f"--clusters={clusters}"] if clusters else []),
        *([f"--name={','.join(sorted(names))}"] if names else []),
        "--noheader",
        "--parsable2",
        "--duplicates",
        f"--delimiter={SEPARATOR}",
        f"--user={os.getuid()}",
        f"--starttime={as_moment(since - SLACK_SECONDS)}",
        f"--format={','.join(FIELDS)}",
    ]
