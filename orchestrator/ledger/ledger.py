"""The run state by the tables of a run directory, read as they grow."""

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

from orchestrator.ledger import data_digests
from orchestrator.ledger.attempts import Row, close_marks
from orchestrator.ledger.data_digests import DataDigests
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
from orchestrator.store import TABLES, Identity, News, Store
from orchestrator.sweep import Column

_ATTEMPT_COLUMNS = ("trial_id", "column_id", "attempt", "outcome", "failure_class")

Part = TypeVar("Part")


class Listener(Protocol):
    """Takes the rows that come into the table of attempts, so that they are read only once."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that it needs besides those of the ledger."""

    def take(self, rows: pa.Table, *, afresh: bool) -> None:
        """New rows; with ``afresh``, all rows, which replace those that came before."""


class Ledger:
    """Reads what has come into the tables since it last read them.

    Args:
        run: the run directory.
        listener: is given the attempts as they are read.
        warn: given by a run that works on the directory: damaged files are set aside, with a
            warning each, and :attr:`data_digests` are read.

    Attributes:
        data_digests: which data the trials read.
    """

    def __init__(
        self,
        run: Path,
        *,
        listener: Listener | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.store = Store(run, warn=warn)
        self.data_digests: DataDigests = {}
        self._run, self._listener, self._warn = run, listener, warn
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

    def check_other_tables(self) -> None:
        """Set the damaged files of the tables aside that :meth:`read` does not read.

        Of a run that works; it may do this in a thread of its own.
        """
        unread = [table for table in TABLES if table not in ("attempts", "trials")]
        Store(self._run, warn=self._warn).check_parts(unread)

    def _taken(self, state: RunState, *, afresh: bool) -> RunState | None:
        """The state with the news; None where what was read before counts no longer."""
        # A settled attempt is recorded after its rows are there: this order finds them.
        attempts = self._news("attempts", self._attempt_columns, self._split)
        more = data_digests.COLUMNS if self._warn else ()
        outcomes = self._news("trials", tuple(dict.fromkeys((*COLUMNS, *more))), self._outcomes)
        settled = newest([part for part, _ in outcomes.parts])
        if not afresh and (attempts.afresh or outcomes.afresh or state.contradicts(settled)):
            return None
        self._files = {"attempts": attempts.files, "trials": outcomes.files}
        self._settled.add(settled)
        known = () if afresh else (self.data_digests,)
        self.data_digests = data_digests.merged([*known, *(part for _, part in outcomes.parts)])
        state = state.settled(settled).rearmed(read_rearmed(self._run))
        if self._listener is not None and attempts.parts:
            rows = pa.concat_tables([part.rows for part in attempts.parts])
            self._listener.take(rows, afresh=afresh)
        return state.tried(tried for part in attempts.parts for tried in self._unsettled(part))

    def _news(
        self, table: str, columns: Sequence[str], reduce: Callable[[pa.Table], Part]
    ) -> News[Part]:
        return self.store.news(table, columns, self._files.get(table, {}), reduce)

    def _outcomes(self, rows: pa.Table) -> tuple[SettledTrials, DataDigests]:
        read = data_digests.data_digests_of(rows) if self._warn else {}
        return settled_trials_of(rows), read

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
    """Some rows of the table of attempts.

    Attributes:
        settled: the trials of attempts that settled them, by number.
        of_column: their columns, by number; 0 where unknown.
        numbers: the numbers of those attempts.
        others: the rows of all other attempts.
        rows: all rows, where there is a listener.
    """

    settled: npt.NDArray[np.uint64]
    of_column: npt.NDArray[np.uint64]
    numbers: npt.NDArray[np.int64]
    others: list[Row]
    rows: pa.Table


class _Settled:
    """The attempts that settled trials, and when they ended (µs since the epoch)."""

    def __init__(self) -> None:
        self._names = np.zeros(0, np.uint64)  # ascending
        self._attempts = np.zeros((0, 2), np.int64)

    def add(self, trials: SettledTrials) -> None:
        """Take in trials that have settled; of each the newest attempt counts."""
        order = np.argsort(trials.trial)
        names = trials.trial[order]
        attempts = np.stack([trials.attempt, trials.finished_at], axis=1)[order]
        known = self.holds(names)
        at = np.searchsorted(self._names, names)
        newer = np.flatnonzero(known)[self._attempts[at[known], 0] <= attempts[known, 0]]
        self._attempts[at[newer]] = attempts[newer]
        self._names = np.insert(self._names, at[~known], names[~known])
        self._attempts = np.insert(self._attempts, at[~known], attempts[~known], axis=0)

    def holds(self, names: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of these trials have settled."""
        if not len(self._names):
            return np.zeros(len(names), dtype=bool)
        at = np.minimum(np.searchsorted(self._names, names), len(self._names) - 1)
        found: npt.NDArray[np.bool_] = self._names[at] == names
        return found

    def of(self, trial_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The attempt, and when it ended, of those of some trials that have settled."""
        found = {}
        for trial_id in trial_ids:
            with suppress(ValueError):  # no trial_id of this version
                name = np.array([as_number(trial_id)], dtype=np.uint64)
                if self.holds(name)[0]:
                    row = int(np.searchsorted(self._names, name)[0])
                    attempt, ended = self._attempts[row].tolist()
                    found[trial_id] = attempt, ended
        return found

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
        return [as_name(name) for name in self._names[low:high].tolist()]
