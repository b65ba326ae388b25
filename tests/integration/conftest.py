"""Real runs of the installed command, in processes of their own."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.runs import TWO_RATES, Run

LONG = """
name: long
problem: {dataset: digits, n_train: 1000, width: 128, depth: 2, activation: tanh, loss: mse}
eta: {unit: absolute, values: [0.0005]}
stop: {epsilon: [0.05], max_steps: STEPS}
measure: {trajectory_every: 100}
resources: {checkpoint_seconds: 1}
"""


@pytest.fixture
def long_text() -> Callable[[int], str]:
    """A sweep of one GD trial of so many steps, long enough to be caught at work."""
    return lambda steps: LONG.replace("STEPS", str(steps))


@dataclass(frozen=True)
class Watched:
    """A run of two rates and what was seen of it from outside."""

    run: Run
    printed: str
    shown: str  # in the terminal that was its standard error
    in_home: list[Path]
    processes: str  # of the whole machine, right after its end


@pytest.fixture(scope="session")
def in_a_terminal(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run of two rates, in a terminal and with a home of its own."""
    run, home = Run(tmp_path_factory.mktemp("terminal")), tmp_path_factory.mktemp("home")
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
