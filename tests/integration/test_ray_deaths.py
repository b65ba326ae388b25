"""A process of Ray that dies ends a run in order and by its name, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from support.processes import Seen, started_with
from support.waiting import wait_for

from orchestrator.cluster.processes import CLUSTER_VARIABLE, cluster_processes
from orchestrator.ledger.status import sweep_of
from orchestrator.logs import read_log

DEATH = "Ray's {} on node localhost died"

BEGINS = ("starts", "resumes")
"""What the log says of an attempt that computes from now on."""


@pytest.mark.timeout(1200)
def test_a_server_that_dies_is_named_and_tried_again_or_ends_the_run_in_order(
    make_run: Callable[..., Any], long_text: Callable[[int], str]
) -> None:
    run = make_run(text=long_text(10_000_000))
    process = run.start_run()
    os.kill(_server(run, "gcs_server").pid, signal.SIGKILL)
    _at_work(run, 1)  # Ray has been started once more
    cluster = _cluster(run)
    os.kill(_server(run, "raylet").pid, signal.SIGKILL)
    assert process.wait(60) == 130
    first = run.output(process)
    assert f"trying again: {DEATH.format('gcs_server')}" in first
    _ended_by(run, first, "raylet", cluster)

    process = run.start_run()
    _at_work(run, 2)
    cluster = _cluster(run)
    os.kill(_server(run, "gcs_server").pid, signal.SIGKILL)
    assert process.wait(60) == 130
    _ended_by(run, run.output(process), "gcs_server", cluster)
    # Without a raylet, its workers may end at once; without a GCS, they save what they have.
    outcomes = {row["attempt"]: row["outcome"] for row in run.rows("attempts") if row["error"]}
    assert outcomes.keys() <= {1}
    assert max(row["attempt"] for row in run.rows("attempts")) == 2

    process = run.start_run()
    _at_work(run, 3)
    cluster = _cluster(run)
    process.kill()
    process.wait(30)
    wait_for(lambda: not _living(cluster), 30)


def _server(run: Any, name: str) -> Seen:
    def find() -> Seen | None:
        return next((one for one in started_with(**run.mark) if one.name == name), None)

    found: Seen = wait_for(find, 120)
    return found


def _at_work(run: Any, attempt: int) -> None:
    """Wait until a process computes the GD trial, which never ends, in this attempt."""

    def seen() -> bool:
        if not (run.path / "sweep.yaml").exists():
            return False
        (column,) = sweep_of(run.path).columns
        said = list(read_log(run.path, column.at(0.0005).trial_id))
        return any(f"attempt {attempt} {word}" in line for line in said for word in BEGINS)

    wait_for(seen, 180)


def _cluster(run: Any) -> set[Any]:
    """All processes of the run's Ray."""
    return cluster_processes(_server(run, "raylet").environment[CLUSTER_VARIABLE])


def _living(cluster: set[Any]) -> set[Any]:
    """Those that still run, whatever became of their environment."""
    return cluster_processes("none", cluster) & cluster


def _ended_by(run: Any, text: str, server: str, cluster: set[Any]) -> None:
    assert f"warning: {DEATH.format(server)}; the last lines of its log:\n" in text
    assert "did not stop in time" not in text
    assert f"eos resume {run.path}" in text
    assert not _living(cluster)
    assert not list((run.path / "claims").glob("*.claim"))
    assert not list((run.path / "claims").glob("*.running"))
