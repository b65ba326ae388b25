"""Nothing is lost when processes are killed: the science at the end is that of a quiet run."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support.tensorboard import scalars
from support.waiting import wait_for

KILLED = ("a driver that starts", "a worker", "both", "a worker", "a driver")


@pytest.mark.timeout(1200)
def test_kills_at_random_moments_change_no_number(
    make_run: Callable[..., Any], undisturbed: Any
) -> None:
    run, moments = make_run(), random.Random(7)
    process = run.start_run()
    for victim in KILLED:
        if process.poll() is not None:
            process = run.start_run()
        if victim == "a driver that starts":
            time.sleep(moments.uniform(1.0, 8.0))
        else:
            wait_for(lambda: run.worker() is not None, seconds=120)
            time.sleep(moments.uniform(0.0, 1.0))
        assert process.poll() is None, run.output(process)
        if victim in ("a worker", "both"):
            wait_for(run.kill_worker, seconds=60)
        if victim != "a worker":
            process.kill()
            process.wait(30)
    assert process.poll() == -signal.SIGKILL
    run.run()
    assert run.science() == undisturbed.science()
    assert run.trajectories() == undisturbed.trajectories()
    run.assert_settled_once()
    outcomes = Counter(row["outcome"] for row in run.rows("attempts"))
    assert set(outcomes) == {"settled", "lost"}
    assert outcomes["lost"] >= KILLED.count("a worker")  # each held a trial
    assert run.temporaries() == []
    assert not list((run.path / "claims").glob("*.running"))
    assert not list((run.path / "claims").glob("*.claim"))


GOING_ON = (
    "grids=[{label: first}, {start: {from: first, step: 350, average: 5}, "
    "optimizer: {name: adam}, eta: {unit: absolute, values: [0.0003]}}]"
)


def test_a_killed_trial_goes_on_from_its_checkpoint(
    make_run: Callable[..., Any],
    long_text: Callable[[int], str],
) -> None:
    """It goes on in its curve of the live log, too, and no step is there twice; and a trial that
    begins at one of its states begins at the same one.
    """
    asked = ("measure.trajectory_eigenvalues=2", "resources.keep=[30,320]", GOING_ON)
    run = make_run(text=long_text(500))
    process = run.start_run("--log", "tensorboard", *asked)
    checkpoints = run.path / "checkpoints"
    wait_for(lambda: list(checkpoints.glob("*.safetensors")), seconds=120)
    assert run.kill_worker()
    process.kill()
    process.wait(30)
    run.run_with_ray("--log", "tensorboard", *asked)
    (resumed,) = {row["trial_id"] for row in run.rows("attempts") if row["outcome"] == "lost"}
    log = run.eos("logs", str(run.path), resumed)
    assert "attempt 2 resumes at step " in log
    assert "resumes at step 0" not in log
    quiet = make_run("quiet", long_text(500))
    quiet.run(*asked)
    assert run.science() == quiet.science()
    assert run.trajectories() == quiet.trajectories()
    for table, place in (("spectra", ("step", "rank")), ("states", ("step", "file"))):
        order = operator.itemgetter("trial_id", *place)
        assert run.facts(table, order) == quiet.facts(table, order) != []
    files = [*(quiet.path / "kept").iterdir(), *(quiet.path / "starts").iterdir()]
    assert {path.name for path in files} >= {state["file"] for state in quiet.rows("states")}
    for path in files:
        there = run.path / path.relative_to(quiet.path)
        assert load_file(there)["theta"].equal(load_file(path)["theta"])
    assert {row["start_step"] for row in quiet.rows("trials")} == {None, 350}
    (folder,) = (run.path / "tensorboard").glob(f"*/*-{resumed}")
    logged = [step for step, _ in scalars(folder)["ray/tune/train_loss"]]
    recorded = [row["step"] for row in quiet.trajectories() if row["trial_id"] == resumed]
    assert len(logged) == len(set(logged))
    assert set(logged) <= set(recorded)
    assert logged[-1] == recorded[-1]


def test_an_interruption_is_orderly_and_a_damaged_checkpoint_is_set_aside(
    make_run: Callable[..., Any],
    long_text: Callable[[int], str],
) -> None:
    run = make_run(text=long_text(400))
    process = run.start_run()
    wait_for(lambda: run.path.exists() and run.worker() is not None, seconds=120)
    run.interrupt(process)
    assert process.wait(60) == 130
    text = run.output(process)
    assert "trials settled" in text
    assert f"eos resume {run.path}" in text
    assert "preempted" in {row["outcome"] for row in run.rows("attempts")}
    assert not list((run.path / "claims").glob("*.claim"))
    checkpoint = min((run.path / "checkpoints").glob("*.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    run.eos("resume", str(run.path))
    assert checkpoint.name in run.errors
    assert "set aside" in run.errors
    assert checkpoint.with_name(f".{checkpoint.name}.damaged").exists()
    quiet = make_run("quiet", long_text(400))
    quiet.run()
    assert run.science() == quiet.science()
    assert run.trajectories() == quiet.trajectories()
    run.assert_settled_once()
    assert run.temporaries() == []


def test_a_run_that_is_told_to_end_while_ray_starts_ends_in_order(
    make_run: Callable[..., Any],
) -> None:
    run = make_run()
    process = run.start_run()
    # Ray's own handler of SIGTERM is in place before its first server is.
    wait_for(lambda: "gcs_server" in _children(process.pid), seconds=60)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 130
    assert f"eos resume {run.path}" in run.output(process)
    assert not list((run.path / "claims").glob("*.claim"))
    assert run.temporaries() == []


def _children(pid: int) -> set[str]:
    """The names of a process's children."""
    names = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                names.add(Path(f"/proc/{child}/comm").read_text().strip())
    return names


def test_a_worker_that_keeps_dying_fails_its_trial_and_no_other(
    make_run: Callable[..., Any],
    long_text: Callable[[int], str],
) -> None:
    run = make_run(text=long_text(800).replace("[0.0005]", "[0.0005, 0.3]"))
    process = run.start_run()
    for kills in (1, 2, 3):
        wait_for(lambda: process.poll() is not None or _slow_trial(run), seconds=90)
        victim = _slow_trial(run)
        assert victim is not None, run.output(process)
        os.kill(victim[1], signal.SIGKILL)
        wait_for(functools.partial(_tried, run, victim[0], kills), seconds=60)
    assert process.wait(240) == 3
    # The first kill may take the other trial, too, which is then in the same worker.
    lost = [row for row in run.rows("attempts") if row["outcome"] == "lost"]
    assert {row["failure_class"] for row in lost} == {"node_failure"}
    of_victim = [row["attempt"] for row in lost if row["trial_id"] == victim[0]]
    assert sorted(of_victim) == [1, 2, 3]
    assert len(lost) <= 4
    settled = {row["eta"] for row in run.rows("trials")}
    assert settled == {None, 0.3}
    assert victim[0] in run.eos("why", str(run.path))
    details = run.eos("why", str(run.path), victim[0][:8])
    assert details.count("lost (node_failure)") == 3
    # The machine was to blame, so the next run tries it again without being asked to.
    run.run()
    assert {row["eta"] for row in run.rows("trials")} == {None, 0.0005, 0.3}
    assert max(row["attempt"] for row in run.rows("attempts")) == 4


def _slow_trial(run: Any) -> tuple[str, int] | None:
    """Trial and process of the GD run at the small rate, while it is in hand."""
    from orchestrator.ledger import read_marks
    from orchestrator.run_directory import sweep_of

    if not (run.path / "sweep.yaml").exists():
        return None
    (column,) = sweep_of(run.path).columns
    name = column.at(0.0005).trial_id
    for mark in read_marks(run.path):
        if mark.trial_id == name and mark.owner.is_dead() is False:
            return name, mark.owner.pid
    return None


def _tried(run: Any, name: str, times: int) -> bool:
    return sum(row["trial_id"] == name for row in run.rows("attempts")) >= times
