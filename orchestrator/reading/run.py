"""The tables of one run directory in Python, as they are at the moment of each call."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import duckdb as database
import pyarrow as pa
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from orchestrator.reading.states import kept_step, module_of, theta_of
from orchestrator.run_directory import why_no_tables
from orchestrator.store import PROBLEM_FIELDS, TABLES, QueryError, Store, connect
from orchestrator.store import query as query_tables
from orchestrator.store.schema import SCHEMAS, check_columns, schema_of

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn


class NotARunError(FileNotFoundError):
    """A path that is no run directory."""


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory for reading, whether its sweep is running or done.

    Raises:
        NotARunError: there is no run directory.
    """
    run = Path(path)
    wrong = why_no_tables(run)
    if wrong is not None:
        raise NotARunError(f"path is {str(run)!r}; {wrong}")
    return Run(run)


class Run:
    """A run directory; :func:`open_run` makes one. It reads, and writes nothing.

    Every call looks at the directory again and shows what is committed by then: of a trial that was
    computed more than once its newest attempt, and no trial in part. What a call returned does not
    change while the sweep goes on. A trial's rows in ``trajectories`` are there before those in
    ``trials``, so ask for ``trials`` first where the two are to be joined, or join them in one
    query.

    As a context manager it closes the connections that it made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store = Store(path)
        self._results: DuckDBPyConnection | None = None
        self._connections = weakref.WeakSet[DuckDBPyConnection]()
        self._closed = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of all tables; those of the analysis are empty until ``eos analyze``."""
        return tuple(SCHEMAS)

    @property
    def unreadable(self) -> list[tuple[Path, str]]:
        """The damaged files that :meth:`arrow` and :meth:`pandas` left out so far, and why.

        Those that only :meth:`sql`, :meth:`duckdb` or a filter came across are in the log alone.
        """
        return self._store.unreadable

    def schema(self, table: str) -> pa.Schema:
        """The names and types of a table's columns.

        Raises:
            UnknownTableError: there is no such table.
        """
        return schema_of(table)

    def arrow(
        self, table: str, columns: Sequence[str] | None = None, filter: str | None = None
    ) -> pa.Table:
        """The rows of a table, in no particular order.

        Args:
            table: one of :attr:`tables`.
            columns: those to read, in this order; all unless given.
            filter: an SQL condition over the table's columns, such as ``"kind = 'gd'"``; what it
                excludes is not read into memory.

        Raises:
            UnknownTableError: there is no such table.
            ValueError: the table lacks one of the columns.
            QueryError: DuckDB refuses the filter.
            StoreError: the run directory cannot be read.
        """
        self._must_be_open()
        schema = schema_of(table)
        wanted = schema.names if columns is None else _as_list(columns)
        check_columns(table, wanted)
        if filter is None and table in TABLES:
            return self._store.table(table, wanted)
        return self._chosen(table, wanted, filter).cast(
            pa.schema([schema.field(n) for n in wanted])
        )

    def _chosen(self, table: str, columns: Sequence[str], filter: str | None) -> pa.Table:
        condition = "true" if filter is None else filter
        try:
            # The line's end keeps a comment in the filter from swallowing the bracket.
            return query_tables(
                self.path, f"SELECT {', '.join(columns)} FROM {table} WHERE ({condition}\n)"
            )
        except QueryError as error:
            raise QueryError(f"filter is {filter!r}; {error}") from error

    def pandas(
        self, table: str, columns: Sequence[str] | None = None, filter: str | None = None
    ) -> pd.DataFrame:
        """The same rows as a DataFrame whose columns are those of :meth:`arrow`, not copies.

        Their types are pandas' ArrowDtype: whole numbers stay whole where some are NULL, times keep
        their zone, and a number that was not measured is ``<NA>``.

        Raises:
            UnknownTableError, ValueError, QueryError, StoreError: as :meth:`arrow`.
        """
        import pandas as pd  # here, so that commands start without it

        rows = self.arrow(table, columns, filter)
        return rows.to_pandas(types_mapper=pd.ArrowDtype)  # type: ignore[no-any-return]

    def sql(self, query: str) -> DuckDBPyRelation:
        """The result of SQL over all tables, as a relation to go on with.

        The result is computed at once and kept in memory as Arrow, of which the relation is a view:
        compaction and new trials do not change it. For a result that does not fit into memory,
        see :meth:`duckdb`.

        Raises:
            QueryError: DuckDB refuses the SQL.
            StoreError: the run directory cannot be read.
        """
        self._must_be_open()
        result = query_tables(self.path, query)
        if self._results is None:  # one for all results: each connection has threads of its own
            self._results = database.connect(":memory:", config={"enable_external_access": "false"})
            self._results.execute("SET TimeZone = 'UTC'")
        return self._results.from_arrow(result)

    def duckdb(self) -> DuckDBPyConnection:
        """A connection with a view of each table, which reads the files of this moment, lazily.

        It cannot reach any other file. It shows no trial that settles later, and fails once ``eos
        compact`` has merged the files that it reads: then ask for another.

        Raises:
            StoreError: the run directory cannot be read.
        """
        self._must_be_open()
        connection = connect(self.path)
        self._connections.add(connection)
        return connection

    def theta(
        self, trial_id: str, epsilon: float | None = None, *, step: int | None = None
    ) -> Tensor:
        """θ of shape (P,) where a trial crossed a threshold, or after a number of steps of GD.

        What sweep files ask for is kept (``resources.keep``), and listed in the table ``states``.

        Raises:
            NoStateError: the trial kept no such state; says which it did keep.
            StoreError: the run directory or the file of the state cannot be read.
        """
        if (epsilon is None) == (step is None):
            raise ValueError("one of epsilon and step must be given, and not both")
        rows = self.arrow("states", ["epsilon", "step"], _of_trial(trial_id))
        return theta_of(self.path, trial_id, kept_step(rows, trial_id, epsilon, step))

    def module(
        self, trial_id: str, epsilon: float | None = None, *, step: int | None = None
    ) -> nn.Module:
        """The trial's network with :meth:`theta` in it, on the CPU: inputs of shape (samples,
        features), as the dataset has them after its normalization, to (samples, outputs).

        Raises:
            NoStateError, StoreError: as :meth:`theta`.
        """
        theta = self.theta(trial_id, epsilon, step=step)
        row, *_ = self.arrow("trials", PROBLEM_FIELDS, _of_trial(trial_id)).to_pylist()
        return module_of(self.path, row, theta)

    def close(self) -> None:
        """Close the connections, with their relations; a second time does nothing."""
        self._closed = True
        for connection in [self._results, *self._connections]:
            if connection is not None:
                connection.close()
        self._results = None
        self._connections.clear()

    def _must_be_open(self) -> None:
        if self._closed:
            raise ValueError(f"run {str(self.path)!r} is closed; open_run opens it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def _of_trial(trial_id: str) -> str:
    """The condition for the rows of a trial."""
    if re.fullmatch("[0-9a-f]{16}", trial_id) is None:
        raise ValueError(f"trial_id is {trial_id!r}; it must be 16 hexadecimal digits")
    return f"trial_id = '{trial_id}'"


def _as_list(columns: Sequence[str]) -> list[str]:
    """The columns; a text alone would be taken for a list of letters."""
    if isinstance(columns, str):
        raise ValueError(f"columns is {columns!r}; it must be a list of names, [{columns!r}]")
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"columns is {list(columns)!r}; it must be names, each once, or None")
    return list(columns)
