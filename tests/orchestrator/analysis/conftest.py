"""A run directory to fill with trials."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis import Measured
from orchestrator.store import create, write_part


class Run:
    """A run directory, and trials written to it as the engine writes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0
        self._pack: list[dict[str, Any]] | None = None
        create(path)

    def trial(self, column_id: str, kind: str, rows: Mapping[float, Measured], **key) -> None:
        """Write one trial's rows, given by their ε."""
        self._written += 1
        name = f"{self._written:04d}"
        key = {"trial_id": name, "attempt": 1, "column_id": column_id, "kind": kind} | key
        rows = [{**key, "epsilon": epsilon, **vars(row)} for epsilon, row in rows.items()]
        if self._pack is None:
            write_part(self.path, "trials", name, rows)
        else:
            self._pack += rows

    @contextmanager
    def pack(self) -> Iterator[None]:
        """Write the trials that come within in one part, as those of a pack are."""
        self._pack = []
        yield
        write_part(self.path, "trials", f"pack-{self._written:04d}", self._pack)
        self._pack = None


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")
