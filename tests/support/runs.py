"""A sweep file and its run directory, and ``eos`` applied to them: here, or as a user does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import in_process
from support.processes import started_with
from support.waiting import wait_for

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

TWO_RATES = ("eta.values=[0.5,1.0]", "stop.epsilon=0.2")


class Run:
    """A sweep file and its run directory, and the command applied to them."""

    def __init__(self, folder: Path, text: str = SMALL) -> None:
        self.config = folder / "sweep.yaml"
        self.config.write_text(text)
        self.path = folder / "run"
        self.printed = self.errors = ""  # by the last command of this process
        self.started: list[subprocess.Popen[str]] = []
        self.mark = {"EOS_TEST_RUN": str(self.path)}  # inherited by all that it starts

    def start(self, *arguments: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
        """Start the installed ``eos`` and go on; its output is kept in files beside the run."""
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
        return self.start(*self._run(*overrides), stderr=stderr)

    def eos(self, *arguments: str, expect: int = 0) -> str:
        """Run ``eos`` to its end in this process, and return its standard output."""
        status, self.printed, self.errors = in_process.eos(*arguments)
        assert status == expect, self.printed + self.errors
        return self.printed

    def run(self, *overrides: str, expect: int = 0) -> str:
        """``eos run``, with an actor in this process in place of Ray."""
        return self.eos(*self._run(*overrides), expect=expect)

    def run_with_ray(self, *overrides: str, expect: int = 0) -> str:
        """``eos run`` as a user starts it; returns all that it printed."""
        process = self.start_run(*overrides)
        assert process.wait(RUN_SECONDS) == expect, self.output(process)
        return self.output(process)

    def _run(self, *overrides: str) -> tuple[str, ...]:
        return "run", str(self.config), *overrides, "--run-dir", str(self.path)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return Store(self.path).rows(table)

    def science(self) -> list[dict[str, Any]]:
        """The trials table without provenance, in a fixed order."""
        return self.facts("trials", lambda row: (row["trial_id"], -row["epsilon"]))

    def trajectories(self) -> list[dict[str, Any]]:
        return self.facts("trajectories", lambda row: (row["trial_id"], row["step"]))

    def facts(self, table: str, order: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """The rows of a table without provenance, in this order."""
        rows = [
            {key: value for key, value in row.items() if key not in PROVENANCE}
            for row in self.rows(table)
        ]
        return sorted(rows, key=order)

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

    def interrupt(self, process: subprocess.Popen[str]) -> None:
        """Interrupt a run that has a trial under way: however fast that is, it cannot end before
        it is told to stop, for its worker stands still until then.
        """
        pid = self.worker()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            wait_for(lambda: list((self.path / "claims").glob(".stop-*")))
        finally:
            os.kill(pid, signal.SIGCONT)

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
