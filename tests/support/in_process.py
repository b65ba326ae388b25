"""``eos`` in this process: its searcher and its worker, driven as Ray Tune would, without Ray.

For tests of what a run does with its trials. What Ray itself does for a run (processes that are
killed, ranks, several runs at once, a terminal) is tested with Ray.
"""

from __future__ import annotations

import io
import itertools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from ray.tune.search import Searcher

from jobs.machine import machine_memory
from orchestrator import open_run
from orchestrator.cli import execution, main
from orchestrator.cluster import Node
from orchestrator.engine import execute
from orchestrator.engine.executor import CarryOut
from orchestrator.engine.tune_experiment import WorkSearcher
from orchestrator.engine.work_queue import WorkQueue
from orchestrator.engine.worker import Worker


@contextmanager
def one_worker(queue: WorkQueue, environment: Any, **_: Any) -> Iterator[CarryOut]:
    """An executor with one slot: an worker in this process carries out one work after another."""
    queue.use((Node("here", cpus=1, gpus=0, memory=machine_memory()),))
    queue.memory_per_cpu = int(0.8 * machine_memory())

    def carry_out(ended: Callable[[], bool], changed: Callable[[], None], log: Any) -> None:
        searcher, worker = WorkSearcher(queue, ended, changed), None
        for number in itertools.count():
            name = str(number)
            config = searcher.suggest(name)
            if config == Searcher.FINISHED:
                return
            assert isinstance(config, dict)  # no work is under way that others could wait for
            try:
                if worker is None:
                    worker = Worker(config)
                else:
                    worker.reset_config(config)
                while not (result := worker.step())["done"]:
                    searcher.on_trial_result(name, result)
            except Exception as error:  # its process would have died
                worker, searcher.errors[name] = None, error
                searcher.on_trial_complete(name, error=True)
            else:
                searcher.on_trial_complete(name, result)

    yield carry_out


def settled(*arguments: str) -> str:
    """What a command prints that must end well."""
    status, output, errors = eos(*arguments)
    assert status == 0, output + errors
    return output


def run_of(folder: Path, text: str) -> Path:
    """The run directory of a sweep file with this text, with all that it asks for."""
    (folder / "sweep.yaml").write_text(text)
    settled("run", str(folder / "sweep.yaml"), "--run-dir", str(folder / "run"))
    return folder / "run"


def rows_of(run: Path, table: str = "trials", condition: str = "true") -> list[dict[str, Any]]:
    """The rows of a table that fit a condition, as a user reads them from Python."""
    with open_run(run) as tables:
        found: list[dict[str, Any]] = tables.arrow(table, filter=condition).to_pylist()
    return found


def eos(*arguments: str) -> tuple[int, str, str]:
    """Run the command; returns its exit status and what it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    threads, timer = torch.get_num_threads(), signal.getitimer(signal.ITIMER_REAL)
    alarm = signal.getsignal(signal.SIGALRM)
    try:
        with (
            mock.patch.object(sys, "argv", ["eos", *arguments]),
            mock.patch.object(execution, "execute", partial(execute, executor=one_worker)),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        # What belongs to the process is the tests' again: threads, and the clock of their timeouts.
        torch.set_num_threads(threads)
        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, *timer)
    return status, out.getvalue(), err.getvalue()
