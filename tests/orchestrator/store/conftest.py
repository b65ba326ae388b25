"""A run directory, rows to fill it with, and processes that write to it and may be killed."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store, create, write_part

WORK = Path(__file__).parent / "processes" / "work.py"


class Run:
    """A run directory and what tests do with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        create(path)

    def trial(
        self, trial: str, attempt: int = 1, name: str | None = None, epsilons=(0.1, 0.05), **values
    ) -> Path:
        """Write one trial's rows in all three tables; ``loss`` tells the attempts apart."""
        key = {"trial_id": trial, "attempt": attempt}
        name = name or trial
        write_part(
            self.path,
            "trajectories",
            name,
            [{**key, "column_id": "c", "step": step, "sharpness": 2.0} for step in (0, 50, 100)],
        )
        write_part(self.path, "attempts", f"{name}-{attempt}", [{**key, "outcome": "settled"}])
        rows = [{**key, "column_id": "c", "epsilon": e, "steps": attempt} for e in epsilons]
        return write_part(self.path, "trials", name, [{**row, **values} for row in rows])

    def assert_whole(self, trials: set[str]) -> None:
        """Every key once, and no trial with rows of two attempts."""
        store = Store(self.path)
        rows = store.rows("trials")
        assert store.unreadable == []
        assert set(Counter((row["trial_id"], row["epsilon"]) for row in rows).values()) <= {1}
        assert {row["trial_id"] for row in rows} == trials
        assert len(rows) == 2 * len(trials)
        assert len({(row["trial_id"], row["attempt"]) for row in rows}) == len(trials)
        assert all(row["steps"] == row["attempt"] for row in rows)
        steps = Counter((row["trial_id"], row["step"]) for row in store.rows("trajectories"))
        assert set(steps.values()) <= {1}
        tries = Counter((row["trial_id"], row["attempt"]) for row in store.rows("attempts"))
        assert set(tries.values()) <= {1}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start ``processes/work.py`` and return once it is at work; all end with the test."""
    started: list[subprocess.Popen] = []

    def begin(run: Run, mode: str, *numbers: int) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(WORK), str(run.path), mode, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        with process:  # closes its pipes and waits for its end
            pass
