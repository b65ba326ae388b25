"""Rows of a column as they come from the tables, and a run directory to fill with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.report import figures_of
from orchestrator.report.tables import Tables
from orchestrator.store import create, write_part

PROBLEM = {
    "dataset": "mnist-mini",
    "n_train": 1000,
    "architecture": "fcn",
    "width": 64,
    "depth": 2,
    "activation": "tanh",
    "loss": "mse",
    "parameterization": "standard",
    "weight_decay": None,
    "optimizer": "gd",
    "momentum": None,
    "beta2": None,
    "damping": None,
    "start": None,
    "init_scale": 1.0,
    "seed": 0,
}

Rows = list[dict[str, Any]]


def build(
    etas=(0.02, 0.05, 0.1, 0.2, 0.4), epsilons=(0.1, 0.02), flow: bool = True, **values
) -> Rows:
    """A flow and GD in two regimes around η_c = ε; ``values`` override those of every row."""
    rows = []
    for epsilon in epsilons:
        shared = {"column_id": "c0ffee", **PROBLEM, "epsilon": epsilon, "status": "reached"}
        shared |= {"eta_c": epsilon, "s_gf": 2 / epsilon, "sharpness_converged": True}
        if flow:
            measured = {"sharpness": 2 / epsilon, "l1_norm": 1 / epsilon, "test_loss": epsilon}
            rows.append({**shared, "kind": "flow", "eta": None, **measured, **values})
        for eta in etas:
            measured = {"sharpness": 2 / max(eta, epsilon), "l1_norm": 1 / epsilon + eta}
            measured["test_loss"] = epsilon + (eta - 0.2) ** 2
            rows.append({**shared, "kind": "gd", "eta": eta, **measured, **values})
    return rows


@pytest.fixture(scope="session")
def column() -> Callable[..., Rows]:
    return build


def trial_id(row: dict[str, Any]) -> str:
    return row.get("trial_id") or f"{row['column_id']}-{row['kind']}-{row['eta']}"


class Run:
    """A run directory, and trials written to it as the engine writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = 0
        create(path)

    def add(self, rows: Rows, table: str = "trials") -> None:
        """Write rows of a table, all of their trials in one part."""
        self._parts += 1
        named = [{"attempt": 1, **row, "trial_id": trial_id(row)} for row in rows]
        write_part(self.path, table, f"part-{self._parts}", named)

    def tables(self, most: int = 12) -> Tables:
        return Tables(self.path, most)

    def missing(self, name: str) -> str:
        """Why the run has no figure of a name."""
        said: list[str] = []
        assert list(figures_of(self.path, names=[name], warn=said.append)) == []
        return "; ".join(said)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def new_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Run]:
    """Makes run directories that several tests read."""
    return lambda: Run(tmp_path_factory.mktemp("shared") / "run")
