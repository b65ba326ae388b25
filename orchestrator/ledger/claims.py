"""Who works on which column: files made exclusively, kept alive by a heartbeat.

Any number of runs on one run directory share its columns by these files alone. A claim whose owner
is gone may be taken over; an owner that comes back late changes nothing, because readers take one
attempt of each trial.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator.ledger.process import ProcessIdentity

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
"""A claim is stale when its heartbeat is older than this, or at once when its process is seen to
be dead. Long enough for a file server's cache and a slow clock."""

SUFFIX = ".claim"
TAKEOVER = ".takeover"


@dataclass(frozen=True)
class Claim:
    """A column claimed by a run; ``age`` is that of its last heartbeat, in seconds."""

    column_id: str
    token: str
    owner: ProcessIdentity
    slurm_job_id: str | None
    restart_count: int | None
    age: float

    @property
    def stale(self) -> bool:
        """Whether the column may be taken over."""
        return self.owner.is_dead() or self.age > STALE_SECONDS

    def precedes(self, slurm_job_id: str | None, restart_count: int | None) -> bool:
        """Whether it is left from an earlier start of the same SLURM job, which is over then."""
        return (
            slurm_job_id is not None
            and self.slurm_job_id == slurm_job_id
            and (self.restart_count or 0) < (restart_count or 0)
        )


class Claims:
    """The claims of one run on a run directory."""

    def __init__(
        self, run: Path, slurm_job_id: str | None = None, restart_count: int | None = None
    ) -> None:
        self.token = uuid.uuid4().hex
        self._folder = run / "claims"
        self._slurm_job_id, self._restart_count = slurm_job_id, restart_count
        self._held: set[str] = set()
        self._seen: dict[str, tuple[Claim, float]] = {}

    @property
    def held(self) -> frozenset[str]:
        """The columns that this run holds."""
        return frozenset(self._held)

    def take(self, column_id: str) -> bool:
        """Claim a column; False when a living run holds it."""
        if column_id in self._held:
            return True
        path = self._path(column_id)
        holder = read_claim(path)  # reading is cheaper than writing, and most are held
        if holder is None:
            taken = self._create(path)
        else:
            taken = self._may_take(holder) and self._take_over(path, holder)
            if not taken:
                self._seen[column_id] = holder, time.monotonic()
        if taken:
            self._held.add(column_id)
        return taken

    def in_turn(self, column_ids: Sequence[str]) -> Iterator[str]:
        """The columns that are worth a try to :meth:`take`, in the order in which to try them.

        First the first that nobody holds; when others are quicker, the rest in an order of this
        run's own, so that a thousand runs that start at once do not queue for one column after the
        other. Then those that are held, unless their holder was seen alive a moment ago: runs that
        wait would else read all claims again at every look.
        """
        claimed = self._claimed()
        free = [column_id for column_id in column_ids if column_id not in claimed]
        yield from free[:1]
        rest = free[1:]
        random.Random(self.token).shuffle(rest)
        yield from rest
        for column_id in column_ids:
            if column_id in claimed and self._may_be_stale(column_id):
                yield column_id

    def _claimed(self) -> set[str]:
        """The columns that somebody holds or held."""
        names = os.listdir(self._folder)  # noqa: PTH208 (thousands of names, no paths needed)
        return {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}

    def _may_be_stale(self, column_id: str) -> bool:
        """Whether a claim may be stale by now; False where it was seen alive not long ago."""
        if column_id not in self._seen:
            return True
        holder, seen_at = self._seen[column_id]
        age = holder.age + time.monotonic() - seen_at
        return dataclasses.replace(holder, age=age).stale

    def beat(self) -> None:
        """Say that the claims held are alive; what was taken over meanwhile is let go."""
        for column_id in tuple(self._held):
            path = self._path(column_id)
            holder = read_claim(path)
            if holder is None or holder.token != self.token:
                self._held.discard(column_id)
                continue
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)

    def release(self, column_id: str) -> None:
        """Give a column back; a claim gone stale is left to whoever takes it over."""
        path = self._path(column_id)
        holder = read_claim(path)
        if holder is not None and holder.token == self.token and holder.age <= STALE_SECONDS:
            path.unlink(missing_ok=True)
        self._held.discard(column_id)

    def release_all(self) -> None:
        """Give everything back."""
        for column_id in tuple(self._held):
            self.release(column_id)

    def _may_take(self, holder: Claim) -> bool:
        return holder.stale or holder.precedes(self._slurm_job_id, self._restart_count)

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
        """A file with this run's claim that can be given the name ``path``."""
        content = {
            "token": self.token,
            "owner": ProcessIdentity.own().as_dict(),
            "slurm_job_id": self._slurm_job_id,
            "restart_count": self._restart_count,
        }
        temporary = temporary_name(path)
        temporary.write_text(json.dumps(content))
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _take_over(self, path: Path, stale: Claim) -> bool:
        """Put this run's claim in the place of a stale one, unless somebody else does.

        The right to do so is a file, too, named by the stale claim's token. A token is never used
        again, so with the right in hand and the stale claim still there nobody else replaces it;
        and the claim's file is there at every moment, so nobody takes the column for free.
        """
        began = time.monotonic()
        rights = self._right_to_replace(path, stale)
        if not rights:
            return False
        holder = read_claim(path)
        replaced = holder is not None and holder.token == stale.token
        if replaced and time.monotonic() - began > STALE_SECONDS / 2:
            return False  # asleep meanwhile, so others may count this run's right as stale
        if replaced:
            with self._written(path) as temporary:
                temporary.replace(path)
        for right in rights:
            right.unlink(missing_ok=True)
        return replaced

    def _right_to_replace(self, path: Path, stale: Claim) -> list[Path]:
        """The files that end with this run's right; none where somebody else has it.

        Each is numbered one above that of a run which died with the right in hand: made exclusively
        and not removed before the stale claim is gone, so that no two runs have it.
        """
        rights: list[Path] = []
        while True:
            rights.append(path.with_name(f"{path.name}.{stale.token}.{len(rights)}{TAKEOVER}"))
            if self._create(rights[-1]):
                return rights
            holder = read_claim(rights[-1])
            if holder is None or not self._may_take(holder):
                return []


def read_claim(path: Path) -> Claim | None:
    """The claim in a file, or None where there is none."""
    try:
        content = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    owner = ProcessIdentity(**content["owner"])
    return Claim(
        column_id=path.stem,
        token=content["token"],
        owner=owner,
        slurm_job_id=content["slurm_job_id"],
        restart_count=content.get("restart_count"),
        age=max(age, 0.0),
    )


def read_claims(run: Path) -> Iterator[Claim]:
    """All claims on a run directory, stale ones too."""
    for path in sorted((run / "claims").glob(f"*{SUFFIX}")):
        claim = read_claim(path)
        if claim is not None:
            yield claim
