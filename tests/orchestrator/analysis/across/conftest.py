"""Small sweeps as the tables that the comparison of columns reads, with η_c by a known law."""

import functools
from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
import pytest

from orchestrator.analysis.across import NEEDED, across
from orchestrator.store import PHASE, TRIALS, VALLEYS

USUAL = {
    "dataset": "mnist-mini", "n_train": 100, "architecture": "fcn", "width": 32, "depth": 2,
    "activation": "tanh", "loss": "mse", "parameterization": "standard", "init_scale": 1.0,
    "seed": 0, "dtype": "float32", "subset": "first", "normalization": "scalar",
    "base_width": None,
}  # fmt: skip

Law = Callable[[Mapping[str, object], float], Mapping[str, object]]


class Tables:
    """What ``across`` makes of columns, given by what is unusual about them, under a law.

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
            problem, column = {**USUAL, **unusual}, f"{number:04d}-column"
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
        return across(self.trials, self.phase, self._valleys)

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
