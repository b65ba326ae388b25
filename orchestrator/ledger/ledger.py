"""What the tables of a run directory say, read as they grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.attempts import Row, close_marks
from orchestrator.ledger.marks import Mark, read_rearmed
from orchestrator.ledger.settled_trials import COLUMNS, numbers_of, settled_trials_of
from orchestrator.plan import (
    DIGITS,
    Attempt,
    FailureClass,
    RunState,
    SettledTrials,
    as_name,
    as_number,
    newest,
    with_work_of,
)
from orchestrator.store import Identity, News, Store
from orchestrator.sweep import Column

_ATTEMPT_COLUMNS = ("trial_id", "column_id", "attempt", "outcome", "failure_class")

Part = TypeVar("Part")


class Listener(Protocol):
    """Takes what comes into the table of attempts, so that nobody need read it twice."""

    @property
    def columns(self) -> Sequence[str]:
        """What it wants to know of each attempt besides what the ledger needs."""

    def take(self, rows: pa.Table, *, afresh: bool) -> None:
        """Rows that are new; with ``afresh``, all there are: what came before counts no longer."""


class Ledger:
    """Reads what came into the tables since it last read them.

    A ``listener`` is given the attempts as they are read.
    """

    def __init__(self, run: Path, *, listener: Listener | None = None) -> None:
        self.store = Store(run)
        self._run, self._listener = run, listener
        self._files: dict[str, dict[Path, Identity]] = {}
        self._settled = _Settled()

    def read(self, columns: Sequence[Column]) -> RunState:
        """The state of these columns by all that the tables hold."""
        self._files, self._settled = {}, _Settled()
        state = self._taken(RunState.of(columns), afresh=True)
        assert state is not None
        return state

    def catch_up(self, state: RunState) -> RunState:
        """The state with what came into the tables since the last look."""
        moved = self._taken(state, afresh=False)
        return with_work_of(self.read(state.columns), state) if moved is None else moved

    def _taken(self, state: RunState, *, afresh: bool) -> RunState | None:
        """The state with the news; None where what was read before counts no longer."""
        # A settled attempt is recorded after its rows are there: this order finds them.
        attempts = self._news("attempts", self._attempt_columns, self._split)
        outcomes = self._news("trials", COLUMNS, settled_trials_of)
        settled = newest(outcomes.parts)
        if not afresh and (attempts.afresh or outcomes.afresh or state.contradicts(settled)):
            return None
        self._files = {"attempts": attempts.files, "trials": outcomes.files}
        self._settled.add(settled)
        state = state.settled(settled).rearmed(read_rearmed(self._run))
        if self._listener is not None and attempts.parts:
            rows = pa.concat_tables([part.rows for part in attempts.parts])
            self._listener.take(rows, afresh=afresh)
        return state.tried(tried for part in attempts.parts for tried in self._unsettled(part))

    def _news(
        self, table: str, columns: Sequence[str], reduce: Callable[[pa.Table], Part]
    ) -> News[Part]:
        return self.store.news(table, columns, self._files.get(table, {}), reduce)

    @property
    def _attempt_columns(self) -> Sequence[str]:
        more = () if self._listener is None else self._listener.columns
        return tuple(dict.fromkeys((*_ATTEMPT_COLUMNS, *more)))

    def _split(self, rows: pa.Table) -> _Attempts:
        """What is kept of attempts: most of them settled their trials, and are told by numbers."""
        settled = pc.fill_null(pc.equal(rows.column("outcome"), "settled"), False)
        names, named = numbers_of(rows.column("trial_id"))
        columns, _ = numbers_of(rows.column("column_id"))
        mask = np.asarray(settled.to_numpy(), dtype=bool)
        return _Attempts(
            settled=names[mask & named],
            of_column=columns[mask & named],
            numbers=rows.column("attempt").to_numpy()[mask & named],
            others=rows.filter(pa.array(~mask & named)).select(_ATTEMPT_COLUMNS).to_pylist(),
            rows=rows if self._listener is not None else rows.slice(0, 0),
        )

    def _unsettled(self, part: _Attempts) -> Iterator[tuple[str, str | None, Attempt]]:
        """The attempts that settled nothing, and those that did so but whose rows are gone."""
        for row in part.others:
            attempt = Attempt(row["attempt"], row["outcome"], row["failure_class"])
            yield row["trial_id"], row["column_id"], attempt
        for at in np.flatnonzero(~self._settled.holds(part.settled)).tolist():
            column = int(part.of_column[at])
            name = as_name(int(part.settled[at]))
            attempt = Attempt(int(part.numbers[at]), "settled", None)
            yield name, as_name(column) if column else None, attempt

    def has_settled(self, trial_id: str) -> bool:
        """Whether the rows of a trial are there."""
        return bool(self._settled.of([trial_id]))

    def begins_with(self, beginning: str) -> list[str]:
        """The settled trials whose trial_id begins so."""
        return self._settled.begins_with(beginning)

    def close(
        self,
        state: RunState,
        marks: Iterable[Mark],
        failure_class: FailureClass | None = None,
        error: str | None = None,
    ) -> tuple[RunState, list[str]]:
        """Put the attempts of these marks, whose processes are gone, on record.

        Returns the state after that, and the trials whose attempt was lost.
        """
        marks = list(marks)
        if not marks:
            return state, []
        reason = {} if error is None else {"error": error}
        lost = close_marks(
            self._run,
            marks,
            self._recorded(marks),
            self._settled.of([mark.trial_id for mark in marks]),
            failure_class=failure_class,
            **reason,
        )
        return self.catch_up(state), lost

    def _recorded(self, marks: Sequence[Mark]) -> dict[str, int]:
        """The last attempt on record of each of these trials."""
        rows = self.store.table("attempts", ["trial_id", "attempt"])
        names = pa.array([mark.trial_id for mark in marks])
        found: dict[str, int] = {}
        for row in rows.filter(pc.is_in(rows.column("trial_id"), value_set=names)).to_pylist():
            found[row["trial_id"]] = max(found.get(row["trial_id"], 0), row["attempt"])
        return found


@dataclass(frozen=True)
class _Attempts:
    """Some rows of the table of attempts: of those that settled a trial, its name as a number, its
    column's, and the attempt's number; the others; and all, if somebody listens.
    """

    settled: npt.NDArray[np.uint64]
    of_column: npt.NDArray[np.uint64]
    numbers: npt.NDArray[np.int64]
    others: list[Row]
    rows: pa.Table


class _Settled:
    """The attempts that settled trials, and when: many that were read at once, and later ones."""

    def __init__(self) -> None:
        self._names = np.zeros(0, np.uint64)
        self._rest = np.zeros((0, 2), np.int64)
        self._later: dict[int, tuple[int, int]] = {}

    @property
    def any(self) -> bool:
        """Whether anything was added."""
        return len(self._names) + len(self._later) > 0

    def add(self, outcomes: SettledTrials) -> None:
        """Take in trials that have settled."""
        rest = np.stack([outcomes.attempt, outcomes.finished_at], axis=1)
        if not self.any:
            order = np.argsort(outcomes.trial)
            self._names, self._rest = outcomes.trial[order], rest[order]
            return
        for name, (attempt, finished) in zip(outcomes.trial.tolist(), rest.tolist(), strict=True):
            known = self._get(name)
            if known is None or known[0] <= attempt:
                self._later[name] = attempt, finished

    def holds(self, names: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of these trials have settled."""
        found = np.zeros(len(names), dtype=bool)
        if self._later:
            found |= np.array([name in self._later for name in names.tolist()], dtype=bool)
        if len(self._names):
            at = np.minimum(np.searchsorted(self._names, names), len(self._names) - 1)
            found |= self._names[at] == names
        return found

    def of(self, trial_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The attempt, and when it ended (µs), of those of some trials that have settled."""
        found = {}
        for name in trial_ids:
            with suppress(ValueError):  # a name that is none
                found[name] = self._get(as_number(name))
        return {name: its for name, its in found.items() if its is not None}

    def begins_with(self, beginning: str) -> list[str]:
        """The names that begin so."""
        try:
            least, most = (int(beginning.ljust(DIGITS, digit), 16) for digit in "0f")
        except ValueError:
            return []
        if len(beginning) > DIGITS:
            return []
        low = np.searchsorted(self._names, np.uint64(least))
        high = np.searchsorted(self._names, np.uint64(most), side="right")
        found = {*self._names[low:high].tolist()}
        found |= {name for name in self._later if least <= name <= most}
        return sorted(map(as_name, found))

    def _get(self, name: int) -> tuple[int, int] | None:
        if name in self._later or not len(self._names):
            return self._later.get(name)
        at = min(int(np.searchsorted(self._names, np.uint64(name))), len(self._names) - 1)
        if int(self._names[at]) != name:
            return None
        attempt, finished = self._rest[at].tolist()
        return attempt, finished
