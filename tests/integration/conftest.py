"""Real runs of the installed command, in processes of their own."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.processes import started_with

from orchestrator.ledger import read_marks
from orchestrator.store import PROVENANCE, Store

EOS = Path(sys.executable).with_name("eos")
RUN_SECONDS = 400

SMALL = """
name: small
problem: {dataset: digits, n_train: 300, width: 24, depth: 2, activation: tanh, loss: mse}
eta:
  values: [0.4, 0.7, 1.0, 1.4, 1.8]
stop: {epsilon: [0.2, 0.05], max_steps: 20000}
measure: {trajectory_every: 20}
"""

LONG = """
name: long
problem: {dataset: digits, n_train: 1000, width: 128, depth: 2, activation: tanh, loss: mse}
eta: {unit: absolute, values: [0.0005]}
stop: {epsilon: [0.05], max_steps: STEPS}
measure: {trajectory_every: 200}
"""


class Run:
    """A sweep file and its run directory, and the command applied to them."""

    def __init__(self, folder: Path, text: str = SMALL) -> None:
        self.config = folder / "sweep.yaml"
        self.config.write_text(text)
        self.path = folder / "run"
        self.started: list[subprocess.Popen[str]] = []
        self.mark = {"EOS_TEST_RUN": str(self.path)}  # inherited by all that it starts

    def start(self, *arguments: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
        """Start ``eos`` and go on; its output is kept in files beside the run."""
        number = len(self.started)
        with self.config.with_name(f"output-{number}").open("w") as output:
            process = subprocess.Popen(
                [EOS, *arguments],
                stdout=output,
                stderr=stderr,
                text=True,
                env={**os.environ, **self.mark},
            )
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        """What a started command has printed so far."""
        number = self.started.index(process)
        return self.config.with_name(f"output-{number}").read_text()

    def start_run(self, *overrides: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
        return self.start(
            "run", str(self.config), *overrides, "--run-dir", str(self.path), stderr=stderr
        )

    def eos(self, *arguments: str, expect: int = 0) -> str:
        """Run ``eos`` to its end and return its standard output."""
        ended = subprocess.run(
            [EOS, *arguments],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            env={**os.environ, **self.mark},
        )
        assert ended.returncode == expect, ended.stdout + ended.stderr
        self.errors = ended.stderr
        return ended.stdout

    def run(self, *overrides: str, expect: int = 0) -> str:
        return self.eos(
            "run", str(self.config), *overrides, "--run-dir", str(self.path), expect=expect
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        return Store(self.path).rows(table)

    def science(self) -> list[dict[str, Any]]:
        """The trials table without provenance, in a fixed order."""
        rows = [
            {key: value for key, value in row.items() if key not in PROVENANCE}
            for row in self.rows("trials")
        ]
        return sorted(rows, key=lambda row: (row["trial_id"], -row["epsilon"]))

    def trajectories(self) -> list[dict[str, Any]]:
        rows = [
            {key: value for key, value in row.items() if key not in PROVENANCE}
            for row in self.rows("trajectories")
        ]
        return sorted(rows, key=lambda row: (row["trial_id"], row["step"]))

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(
            self.eos("query", str(self.path), sql, "--format", "json")
        )
        return answer

    def ranks(self) -> list[int]:
        """The processes of ranks other than the leaders, which Ray names after their class."""
        return [one.pid for one in started_with(**self.mark) if one.command.startswith("ray::Rank")]

    def worker(self) -> int | None:
        """The process of a worker that has a trial in hand, if there is one."""
        for mark in read_marks(self.path):
            if mark.owner.is_dead() is False:
                return mark.owner.pid
        return None

    def kill_worker(self) -> bool:
        """SIGKILL a worker that this run has started."""
        pid = self.worker()
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def end(self) -> None:
        """Kill what this run has started and what has not ended by itself."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait(30)

    def temporaries(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.name.endswith(".tmp")]

    def assert_settled_once(self) -> None:
        """No trial was computed again once it was settled, and every trial is settled."""
        attempts = self.rows("attempts")
        settled = [row["trial_id"] for row in attempts if row["outcome"] == "settled"]
        assert len(settled) == len(set(settled))
        assert set(settled) == {row["trial_id"] for row in self.rows("trials")}
        for name in set(settled):
            mine = sorted(
                (row for row in attempts if row["trial_id"] == name), key=lambda r: r["attempt"]
            )
            assert [row["attempt"] for row in mine] == list(range(1, len(mine) + 1))
            assert mine[-1]["outcome"] == "settled"


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(name: str = "a", text: str = SMALL, like: Run | None = None) -> Run:
        """A run that has not begun, or one at the point that another has reached."""
        folder = tmp_path / name
        folder.mkdir()
        made.append(Run(folder, text))
        if like is not None:
            shutil.copytree(like.path, made[-1].path)
        return made[-1]

    yield make
    for run in made:
        run.end()


@pytest.fixture
def long_text() -> Callable[[int], str]:
    """A sweep of one GD trial of so many steps, long enough to be caught at work."""
    return lambda steps: LONG.replace("STEPS", str(steps))


@pytest.fixture
def small_run(make_run: Callable[..., Run]) -> Run:
    return make_run()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small sweep, run once without any disturbance."""
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.run()
    return run


TWO_RATES = ("eta.values=[0.5,1.0]", "stop.epsilon=0.2")


@dataclass(frozen=True)
class Watched:
    """A run of ``TWO_RATES`` and what was seen of it from outside."""

    run: Run
    printed: str
    shown: str  # in the terminal that was its standard error
    in_home: list[Path]
    processes: str  # of the whole machine, right after its end


@pytest.fixture(scope="session")
def two_rates(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run of two rates, in a terminal and with a home of its own; tests go on from copies."""
    run, home = Run(tmp_path_factory.mktemp("two-rates")), tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(home))
        # Matplotlib keeps its list of fonts; the Makefile too gives it a place outside of the home.
        environment.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        terminal, end = pty.openpty()
        process = run.start_run(*TWO_RATES, stderr=end)
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the last process that held the terminal has ended
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    try:
        assert process.wait(60) == 0, run.output(process)
    finally:
        run.end()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    in_home = list(home.iterdir())
    return Watched(run, run.output(process), shown.decode(), in_home, listed.stdout)


@pytest.fixture(scope="session")
def four_columns(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four columns, computed by two runs that were started at the same time."""
    run = Run(tmp_path_factory.mktemp("four-columns"))
    overrides = ("problem.width=[8,12,16,20]", "eta.values=[0.5,1.5]", "stop.epsilon=0.2")
    first, second = run.start_run(*overrides), run.start_run(*overrides)
    try:
        assert first.wait(240) == 0, run.output(first)
        assert second.wait(240) == 0, run.output(second)
    finally:
        run.end()
    return run
