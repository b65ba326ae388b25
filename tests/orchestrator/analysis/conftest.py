"""A run directory to fill with trials, and small sweeps as tables, with η_c by a known law."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.trial_rows import TrialRow

from orchestrator.analysis.columns import NEEDED
from orchestrator.analysis.run import across
from orchestrator.analysis.statements import findings_table, of_tables
from orchestrator.store import PHASE, TRIALS, VALLEYS, create, write_part


class Run:
    """A run directory, and trials written to it as the engine writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0
        self._batch: list[dict[str, Any]] | None = None
        create(path)

    def trial(self, column_id: str, kind: str, rows: Mapping[float, TrialRow], **key) -> None:
        """Write one trial's rows, given by their ε."""
        self._written += 1
        name = f"{self._written:04d}"
        key = {"trial_id": name, "attempt": 1, "column_id": column_id, "kind": kind} | key
        rows = [{**key, "epsilon": epsilon, **vars(row)} for epsilon, row in rows.items()]
        if self._batch is None:
            write_part(self.path, "trials", name, rows)
        else:
            self._batch += rows

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Write the trials that come within in one part, as those of a batch are."""
        self._batch = []
        yield
        write_part(self.path, "trials", f"batch-{self._written:04d}", self._batch)
        self._batch = None


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


DEFAULTS = {
    "dataset": "mnist-mini", "n_train": 100, "architecture": "fcn", "width": 32, "depth": 2,
    "activation": "tanh", "loss": "mse", "parameterization": "standard", "init_scale": 1.0,
    "weight_decay": None,
    "optimizer": "gd",
    "momentum": None,
    "beta2": None,
    "damping": None,
    "start": None,
    "seed": 0, "dtype": "float32", "subset": "first", "normalization": "scalar",
    "base_width": None,
}  # fmt: skip

Law = Callable[[Mapping[str, object], float], Mapping[str, object]]


class Tables:
    """What the analysis makes of columns, given by what is unusual about them, under a law.

    Without ``valleys`` those of each column and threshold are by that law, too.
    """

    def __init__(
        self,
        problems: Iterable[Mapping[str, object]],
        law: Law,
        epsilons: Iterable[float] = (0.1,),
        valleys: pa.Table | None = None,
    ) -> None:
        trials, phase = [], []
        for number, unusual in enumerate(problems):
            problem, column = {**DEFAULTS, **unusual}, f"{number:04d}-column"
            for epsilon in epsilons:
                key = {"column_id": column, "epsilon": epsilon}
                trials += [{**problem, **key, "trial_id": f"{column}-{kind}"} for kind in "ab"]
                phase.append({**key, **law(problem, epsilon)})
        needed = pa.schema([TRIALS.field(name) for name in NEEDED])
        self.trials = pa.Table.from_pylist(trials, schema=needed)
        self.phase = pa.Table.from_pylist(phase, schema=PHASE)
        if valleys is None:
            rows = [{name: row.get(name) for name in VALLEYS.names} for row in phase]
            valleys = pa.Table.from_pylist(rows, schema=VALLEYS)
        self._valleys = valleys

    @functools.cached_property
    def tables(self) -> dict[str, pa.Table]:
        """All of them."""
        known = {"phase": self.phase, "valleys": self._valleys}
        known |= across(self.trials, self.phase)
        return known | {"findings": findings_table(of_tables(known))}

    def rows(self, table: str, **chosen: object) -> list[dict[str, object]]:
        """The rows of a table that have these values."""
        return [
            row
            for row in self.tables[table].to_pylist()
            if all(row[name] == value for name, value in chosen.items())
        ]

    def row(self, table: str, **chosen: object) -> dict[str, object]:
        """The only such row."""
        (found,) = self.rows(table, **chosen)
        return found


@pytest.fixture(scope="session")
def sweep() -> type[Tables]:
    return Tables


@pytest.fixture(scope="session")
def rate() -> Callable[..., Law]:
    """A law from the predicted η_c as a function of the problem and ε; the fitted one is equal."""

    def law(eta_c: Callable[[Mapping[str, object], float], float | None]) -> Law:
        return lambda problem, epsilon: dict.fromkeys(
            ("eta_c", "eta_c_fitted"), eta_c(problem, epsilon)
        )

    return law
