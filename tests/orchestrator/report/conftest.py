"""Rows of a column as they come from the tables, and a run directory to fill with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
        shared |= {"eta_c": epsilon, "sharpness_converged": True}
        if flow:
            measured = {"sharpness": 2 / epsilon, "l1_norm": 1 / epsilon, "test_loss": epsilon}
            rows.append({**shared, "kind": "flow", "eta": None, **measured, **values})
        for eta in etas:
            measured = {"sharpness": 2 / max(eta, epsilon), "l1_norm": 1 / epsilon + eta}
            measured["test_loss"] = epsilon + (eta - 0.2) ** 2
            rows.append({**shared, "kind": "gd", "eta": eta, **measured, **values})
    return rows


@pytest.fixture
def column() -> Callable[..., Rows]:
    return build


class Run:
    """A run directory, and trials written to it as the engine writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = 0
        create(path)

    def add(self, rows: Rows) -> None:
        """Write the rows of a column, a part for each of its trials."""
        trials: dict[str, Rows] = {}
        for row in rows:
            trial = f"{row['column_id']}-{row['kind']}-{row['eta']}"
            trials.setdefault(trial, []).append({**row, "trial_id": trial, "attempt": 1})
        for its_rows in trials.values():
            self._parts += 1
            write_part(self.path, "trials", f"part-{self._parts}", its_rows)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")
