"""Leases: who works on which column. Files made exclusively, kept alive by a heartbeat.

Any number of runs share the columns of a run directory by these files alone. A lease whose holder
is gone may be taken over; a holder that comes back late changes nothing, because readers take one
attempt of each trial.

Clocks of machines are never compared. The age of a heartbeat is taken from the file server's clock:
the time of the lease's file against that of a file written now. A lease counts as given up only
when this run has itself seen it unchanged for several heartbeats, because some file systems take
the times of files from the machine that writes them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator import left_out
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.store import LEASES
from orchestrator.store.clock import FileClock, seconds_since_boot

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
"""A lease is stale when its heartbeat is older than this, or at once when its process is seen to
be dead. Long enough for a file server's cache."""

WATCHED_SECONDS = 2.5 * HEARTBEAT_SECONDS
"""How long a run must have seen a lease unchanged before it takes it over, unless its process is
seen to be dead."""

BLOCK = 64
"""Of how many free columns, longest first, runs that look at the same time choose at random."""

SUFFIX = ".claim"
TAKEOVER = ".takeover"


@dataclass(frozen=True)
class Lease:
    """The right of a run to work on a column.

    ``beat_at`` is its last heartbeat by the file server's clock, ``age`` the seconds since then by
    the reader's clock. ``submission`` tells jobs of the same number apart.
    """

    column_id: str
    token: str
    owner: ProcessIdentity
    slurm_job_id: str | None
    restart_count: int | None
    submission: str | None
    beat_at: float
    age: float

    @property
    def stale(self) -> bool:
        """Whether it looks given up; a run that takes it over must also have seen it unchanged."""
        return self.owner.is_dead() or self.age > STALE_SECONDS

    def precedes(self, job: JobStart | None) -> bool:
        """Whether it is left from an earlier start of the same SLURM job, which must be over."""
        return (
            job is not None
            and (self.slurm_job_id, self.submission) == (job.job_id, job.submission)
            and (self.restart_count or 0) < job.restart
        )


@dataclass(frozen=True)
class JobStart:
    """One start of a SLURM job: its number, its submission, and how often it was restarted."""

    job_id: str
    submission: str | None = None
    restart: int = 0


@dataclass(frozen=True)
class _Sighting:
    """A lease as it was first seen with this heartbeat, and when by this machine's clock."""

    lease: Lease
    seen_at: float


class Leases:
    """The leases of one run on a run directory.

    Args:
        run: the run directory.
        job: the start of the SLURM job that this is, if any.
        clock: seconds of a clock of this machine that never stands still and never goes back.
    """

    def __init__(
        self,
        run: Path,
        job: JobStart | None = None,
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self.token = uuid.uuid4().hex
        self._folder = run / LEASES
        self._job, self._clock = job, clock
        self._server = FileClock(self._folder / f"clock-{self.token[:16]}", clock)
        self._renewed_at: dict[str, float] = {}
        self._seen: dict[Path, _Sighting] = {}

    @property
    def columns(self) -> frozenset[str]:
        """The columns that this run has leased, by column_id."""
        return frozenset(self._renewed_at)

    def acquire(self, column_id: str) -> bool:
        """Lease a column; False where a living run has it."""
        if column_id in self._renewed_at:
            return True
        path, began = self._path(column_id), self._clock()
        holder = self._read(path)  # reading is cheaper than writing, and most columns are leased
        if holder is None:
            acquired = self._create(path)
        else:
            acquired = self._may_take(path, holder) and self._take_over(path, holder)
        if acquired:
            self._renewed_at[column_id] = began
            self._seen.pop(path, None)
        return acquired

    def in_turn(self, column_ids: Sequence[str]) -> Iterator[str]:
        """The columns that are worth trying to :meth:`acquire`, in the order in which to try them.

        The first free one comes first; when other runs are quicker, those behind it follow,
        ``BLOCK`` at a time and in an order of this run's own, so that a thousand runs that start at
        once do not queue for one column after the other. Then come leased columns, unless their
        holder was just seen alive: otherwise waiting runs would read all leases at every look.
        """
        names = os.listdir(self._folder)  # noqa: PTH208 (thousands of names, no paths needed)
        leased = {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}
        free = [column_id for column_id in column_ids if column_id not in leased]
        yield from free[:1]
        chance = random.Random(self.token)
        for begin in range(1, len(free), BLOCK):
            block = free[begin : begin + BLOCK]
            chance.shuffle(block)
            yield from block
        for column_id in column_ids:
            seen = self._seen.get(self._path(column_id))
            if column_id in leased and (seen is None or self._given_up(seen)):
                yield column_id

    def renew(self) -> None:
        """Beat the heart of all leases; one that was taken over meanwhile is dropped."""
        for column_id in tuple(self._renewed_at):
            path, began = self._path(column_id), self._clock()
            if not self._is_own(path):
                self._renewed_at.pop(column_id, None)
                continue
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
                self._renewed_at[column_id] = began

    def release(self, column_id: str) -> None:
        """Give a column back; a lease gone stale is left to whoever takes it over."""
        path, renewed_at = self._path(column_id), self._renewed_at.pop(column_id, None)
        if renewed_at is None or self._clock() - renewed_at > STALE_SECONDS:
            return
        if self._is_own(path):
            path.unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give all columns back."""
        for column_id in tuple(self._renewed_at):
            self.release(column_id)
        self._server.close()

    def _is_own(self, path: Path) -> bool:
        holder = read_lease(path)
        return holder is not None and holder.token == self.token

    def _read(self, path: Path) -> Lease | None:
        """The lease in a file, and note since when it is unchanged."""
        try:
            now = self._server.now()
        except OSError:  # nothing can be written: then what this run has watched must do
            now = -math.inf
        lease, seen = read_lease(path, now), self._seen.get(path)
        if lease is None:
            self._seen.pop(path, None)
        elif seen is None or (seen.lease.token, seen.lease.beat_at) != (lease.token, lease.beat_at):
            self._seen[path] = _Sighting(lease, self._clock())
        return lease

    def _may_take(self, path: Path, holder: Lease) -> bool:
        """Whether a lease that was just read is given up."""
        return holder.precedes(self._job) or self._given_up(self._seen[path])

    def _given_up(self, seen: _Sighting) -> bool:
        if seen.lease.owner.is_dead():
            return True
        unchanged = self._clock() - seen.seen_at
        # Old by the file server's clock, or, whatever that says, unchanged for so long.
        age = max(seen.lease.age, 0.0) + unchanged
        return unchanged > WATCHED_SECONDS and age > STALE_SECONDS

    def _path(self, column_id: str) -> Path:
        return self._folder / f"{column_id}{SUFFIX}"

    def _create(self, path: Path) -> bool:
        """Make the file with its content in one step, or not at all when it is there."""
        with self._written(path) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        return True

    @contextlib.contextmanager
    def _written(self, path: Path) -> Iterator[Path]:
        """A file with this run's lease that can be given the name ``path``."""
        content = {
            "token": self.token,
            "owner": ProcessIdentity.own().as_dict(),
            "slurm_job_id": None if self._job is None else self._job.job_id,
            "restart_count": None if self._job is None else self._job.restart,
            "submission": None if self._job is None else self._job.submission,
        }
        temporary = temporary_name(path)
        temporary.write_text(json.dumps(content))
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _take_over(self, path: Path, stale: Lease) -> bool:
        """Put this run's lease in the place of a stale one, unless somebody else does.

        The right to do so is a file, too, named by the stale lease's token. A token is never used
        again, so nobody else replaces the stale lease while this run has the right; and the lease's
        file is there at every moment, so nobody takes the column for free.
        """
        began = self._clock()
        rights = self._right_to_replace(path, stale)
        if not rights:
            return False
        holder = read_lease(path)
        replaced = holder is not None and holder.token == stale.token
        if replaced and self._clock() - began > STALE_SECONDS / 2:
            return False  # asleep meanwhile, so others may count this run's right as stale
        if replaced:
            with self._written(path) as temporary:
                temporary.replace(path)
        for right in rights:
            right.unlink(missing_ok=True)
        return replaced

    def _right_to_replace(self, path: Path, stale: Lease) -> list[Path]:
        """The files that end with this run's right; none where somebody else has it.

        Each is numbered one above that of a run which died while it had the right. It is made
        exclusively and not removed before the stale lease is gone, so that no two runs have it.
        """
        rights: list[Path] = []
        while True:
            rights.append(path.with_name(f"{path.name}.{stale.token}.{len(rights)}{TAKEOVER}"))
            if self._create(rights[-1]):
                return rights
            holder = self._read(rights[-1])
            if holder is None or not self._may_take(rights[-1], holder):
                return []


def read_lease(path: Path, now: float | None = None) -> Lease | None:
    """The lease in a file, or None where there is none.

    ``now`` is the time by the file server's clock; without it, by this machine's.
    """
    try:
        if left_out.is_no_file(path):
            return None
        content = json.loads(path.read_text())
        beat_at = path.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    owner = ProcessIdentity(**content["owner"])
    return Lease(
        column_id=path.stem,
        token=content["token"],
        owner=owner,
        slurm_job_id=content["slurm_job_id"],
        restart_count=content.get("restart_count"),
        submission=content.get("submission"),
        beat_at=beat_at,
        age=max((time.time() if now is None else now) - beat_at, 0.0),
    )


def read_leases(run: Path) -> Iterator[Lease]:
    """All leases on a run directory, stale ones too."""
    for path in sorted((run / LEASES).glob(f"*{SUFFIX}")):
        lease = read_lease(path)
        if lease is not None:
            yield lease
