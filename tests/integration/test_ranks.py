"""Trials on several ranks: the numbers of one rank, and an end in order when a rank is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.waiting import until_gone, wait_for

TWO = "resources.workers=2"

LARGE = """
name: large
problem: {dataset: digits, n_train: 40, width: 2200, depth: 2, dtype: float64}
eta: {unit: absolute, values: [0.0001]}
stop: {epsilon: [0.05], max_steps: 10000}
"""
"""Vectors of the size of θ take 40 MB, more than an allocator keeps: each is asked for again."""


def _kilobytes(status: Path, name: str) -> int:
    """A figure of a process's status file."""
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def _checkpoints(run: Path) -> set[tuple[str, int]]:
    """The names of the checkpoints that are there, and when each was written."""
    found = set()
    for path in (run / "checkpoints").glob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):  # its trial has just settled
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def _assert_close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for name, value in theirs.items():
            if isinstance(value, float) and not name.endswith("_residual"):
                assert mine[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
            elif not isinstance(value, float):
                assert mine[name] == value, name


GOING_ON = (
    "grids=[{label: hot, eta: {values: [0.05, 0.1]}}, {start: {from: hot, epsilon: 0.2, "
    "average: 3}, optimizer: {name: adam}, eta: {values: [0.001]}, stop: {epsilon: 0.18}}]"
)


@pytest.mark.timeout(900)
def test_two_ranks_write_the_table_of_one(make_run: Callable[..., Any]) -> None:
    # In float64, and away from η_c, so that the order of summation changes no name of a trial.
    exact = "problem.dtype=float64", "eta.unit=absolute", GOING_ON
    one, two = make_run("one"), make_run("two")
    one.run(*exact)
    two.run_with_ray(*exact, TWO)
    _assert_close(two.science(), one.science())
    _assert_close(two.trajectories(), one.trajectories())
    assert {row["world_size"] for row in two.rows("trials")} == {2}
    assert {row["world_size"] for row in one.rows("trials")} == {1}
    until_gone(two.ranks)


@pytest.mark.timeout(900)
def test_a_killed_rank_costs_an_attempt_and_a_later_run_goes_on_with_one(
    make_run: Callable[..., Any],
    long_text: Callable[[int], str],
) -> None:
    run = make_run(text=long_text(1_500))
    process = run.start_run(TWO)
    wait_for(lambda: _checkpoints(run.path), seconds=120)
    (rank,) = run.ranks()
    before = _checkpoints(run.path)
    os.kill(rank, signal.SIGKILL)
    wait_for(lambda: _checkpoints(run.path) - before, seconds=120)
    run.interrupt(process)
    assert process.wait(60) == 130, run.output(process)
    until_gone(run.ranks)
    run.run()
    attempts = run.rows("attempts")
    failed = [row for row in attempts if row["outcome"] == "failed"]
    assert [(row["attempt"], row["failure_class"]) for row in failed] == [(1, "node_failure")]
    # Of the flow or of the GD trial: the killed one may have ended before the interruption.
    (preempted,) = (row for row in attempts if row["outcome"] == "preempted")
    for row in (*failed, preempted):
        log = run.eos("logs", str(run.path), row["trial_id"])
        assert f"attempt {row['attempt'] + 1} resumes at step " in log
    assert {row["outcome"] for row in attempts} == {"failed", "preempted", "settled"}
    sizes = {row["trial_id"]: row["world_size"] for row in run.rows("trials")}
    assert sizes[preempted["trial_id"]] == 1
    run.assert_settled_once()


@pytest.mark.timeout(900)
def test_a_rank_that_runs_out_of_memory_fails_the_trial_as_that(
    make_run: Callable[..., Any],
) -> None:
    run = make_run(text=LARGE)
    process = run.start_run(TWO)
    wait_for(lambda: run.worker() is not None and run.ranks(), seconds=120)
    (rank,) = run.ranks()
    status = Path(f"/proc/{rank}/status")
    wait_for(lambda: _kilobytes(status, "VmRSS") > 900_000, seconds=120)  # it computes
    # Room for what other threads allocate, and for no vector of the size of θ.
    most = (_kilobytes(status, "VmSize") + 20_000) * 1024
    resource.prlimit(rank, resource.RLIMIT_AS, (most, most))
    process.wait(240)
    ended = {(row["outcome"], row["failure_class"]) for row in run.rows("attempts")}
    assert ended == {("failed", "out_of_memory")}, run.output(process)
    assert process.returncode == 3, run.output(process)
    until_gone(run.ranks)


def test_workers_that_do_not_fit_are_refused_before_anything_runs(
    make_run: Callable[..., Any],
) -> None:
    run, cpus = make_run(), len(os.sched_getaffinity(0))
    run.run(f"resources.workers={cpus + 1}", expect=2)
    assert (
        f"resources.workers is {cpus + 1}; it must be at most {cpus} here: a trial takes workers × "
        f"cpus_per_worker = {cpus + 1} CPUs, and this machine has {cpus}"
    ) in " ".join(run.errors.split())
    run.run("resources.workers=301", expect=2)
    assert "resources.workers is 301; it must be at most 300" in " ".join(run.errors.split())
    run.run("resources.memory_gib_per_worker=0.0001", expect=2)
    assert "resources.memory_gib_per_worker is 0.0001; it must be at least 0.000" in " ".join(
        run.errors.split()
    )
    if not torch.cuda.is_available():
        run.run("resources.gpus_per_worker=1", expect=2)
        assert "resources.gpus_per_worker is 1; it must be at most 0 here" in " ".join(
            run.errors.split()
        )
    assert not Path(run.path).exists()
