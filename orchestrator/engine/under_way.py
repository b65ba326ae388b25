"""The works that are under way in a run, and those whose workers still start."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator.engine.work import Work
from orchestrator.sweep import Resources


class UnderWay:
    """Counts works from their assignment to their end.

    ``workers`` is how many were needed at once so far: a work above that starts another one.

    Tune gives a work whose worker still starts the first worker that becomes free, and drops the
    new one. So no work ends while others wait for their workers: ``hold_file`` names these then,
    and a worker that has nothing left to do waits until no other work is named there.
    """

    def __init__(self, hold_file: Path) -> None:
        self.hold_file = hold_file
        self.workers = 0
        self._of_kind: Counter[Resources] = Counter()
        self._starting: set[str] = set()
        self._started = 0

    def __len__(self) -> int:
        return self._of_kind.total()

    def of(self, resources: Resources) -> int:
        """How many works there are with these resources."""
        return self._of_kind[resources]

    def begin(self, work: Work, slots: int) -> None:
        """Count a work that is handed out, where so many can be computed at once."""
        self._of_kind[work.resources] += 1
        self.workers = min(max(self.workers, len(self)), slots)
        if self._started < len(self) <= slots:
            self._starting.add(str(work))
            self._hold()

    def reported(self, work: Work) -> None:
        """Take in that a work has a worker."""
        if str(work) in self._starting:
            self._starting.discard(str(work))
            self._started = max(self._started, len(self) - len(self._starting))
            self._hold()

    def ended(self, work: Work, *, died: bool) -> None:
        """Count a work no more; whether its worker has died with it."""
        self._of_kind[work.resources] -= 1
        self._starting.discard(str(work))
        self._hold()
        if died:
            self._started = min(self._started, len(self))

    def _hold(self) -> None:
        if self._starting and len(self) > 1:
            temporary = temporary_name(self.hold_file)
            temporary.write_text("\n".join(self._starting))
            temporary.replace(self.hold_file)
        else:
            self.hold_file.unlink(missing_ok=True)


def others_start(work: Work) -> bool:
    """Whether other works of the run wait for their workers."""
    try:
        return bool(set(work.hold_file.read_text().split()) - {str(work)})
    except FileNotFoundError:
        return False
