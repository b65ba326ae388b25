"""Whatever befalls its jobs, a run ends with the table of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support.launching import EOS, PROFILE, Place, science
from support.waiting import until_gone, wait_for

from orchestrator.store import Store

SWEEP = """
name: disturbed
problem:
  {dataset: digits, n_train: 1000, width: 128, depth: 2, activation: tanh, loss: mse, seed: [0, 1]}
eta: {unit: absolute, values: [0.0005, 0.0006]}
stop: {epsilon: [0.05], max_steps: 1200}
measure: {trajectory_every: 100}
"""

Rows = list[dict[str, object]]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows]:
    """Trials and trajectories of the same sweep, run in peace on this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(SWEEP)
    subprocess.run(
        [EOS, "run", str(folder / "sweep.yaml"), "--run-dir", str(folder / "run")],
        check=True,
        timeout=300,
        capture_output=True,
    )
    store = Store(folder / "run")
    return science(store.rows("trials")), science(store.rows("trajectories"))


def same_as(here: Place, undisturbed: tuple[Rows, Rows]) -> None:
    assert science(here.rows("trials")) == undisturbed[0]
    assert science(here.rows("trajectories")) == undisturbed[1]
    settled = [row["trial_id"] for row in here.rows("attempts") if row["outcome"] == "settled"]
    assert max(Counter(settled).values()) == 1
    assert not list((here.run / "claims").glob("*.claim"))
    assert not list((here.run / "claims").glob("*.running"))
    assert not list((here.run / "slurm" / "rendezvous").glob("*"))


def test_a_job_of_two_nodes_is_preempted_and_then_loses_a_raylet(
    place: Callable[[str], Place], undisturbed: tuple[Rows, Rows]
) -> None:
    here = place("run")
    cluster = here.cluster
    profile = PROFILE.replace("cpus_per_node: 1", "cpus_per_node: 2\nnodes: 2")
    # Five minutes: so short that others take every signal for the time limit.
    (job,) = here.submitted(profile.replace("10:00", "5:00"), sweep=SWEEP)

    here.at_work(job)
    urgent = cluster.command(
        "sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--chdir=/",
        "--output=/dev/null", "--wrap=true",
    ).strip()  # fmt: skip
    wait_for(lambda: list((here.run / "claims").glob(".stop-*")), 60)
    os.kill(here.driver(), signal.SIGTERM)  # one more, while it saves
    first = here.ended(job)
    assert (first.end, first.requeued, first.detail) == ("preempted", True, "SIGTERM")
    until_gone(lambda: here.processes_of(job), 15)
    wait_for(lambda: urgent not in here.queue(), 60)

    here.at_work(job, 1)
    (raylet,) = here.processes_of(job, 1, "raylet")
    os.kill(raylet, signal.SIGKILL)
    lost = here.ended(job, 1)
    assert (lost.end, lost.requeued) == ("node_failure", True)
    assert "n2" in (lost.detail or "")
    until_gone(lambda: here.processes_of(job), 15)

    assert here.ended(job, 2, 180).end == "settled"
    assert {"preempted", "lost"} & {row["outcome"] for row in here.rows("attempts")}
    same_as(here, undisturbed)


def test_two_jobs_are_put_back_at_once_one_is_cancelled_and_one_loses_its_node(
    place: Callable[[str], Place], undisturbed: tuple[Rows, Rows]
) -> None:
    here = place("run")
    # Of four CPUs on a node, two jobs of three do not fit on one.
    profile = PROFILE.replace("cpus_per_node: 1", "cpus_per_node: 3")
    jobs = here.submitted(profile, "--jobs", "2", sweep=SWEEP)
    columns = {job: {mark.column_id for mark in here.at_work(job)} for job in jobs}
    assert columns[jobs[0]].isdisjoint(columns[jobs[1]])
    stranger = here.cluster.command(
        "sbatch", "--parsable", "--chdir=/", "--output=/dev/null", "--hold", "--wrap=true"
    ).strip()

    here.cluster.command("scontrol", "requeue", ",".join(jobs))
    for job in jobs:
        assert here.ended(job).end == "preempted"
        assert here.starts(job)[0].requeued
    for job in jobs:
        here.at_work(job, 1)
    state = json.loads(here.eos("status", str(here.run), "--json").stdout)
    assert {one["job_id"]: one["phase"] for one in state["jobs"]} == dict.fromkeys(jobs, "running")
    assert state["orphans"] == []

    gone, stays = jobs
    assert gone in here.eos("cancel", str(here.run), gone).stdout
    assert here.ended(gone, 1).end == "cancelled"
    here.at_work(stays, 1)
    (node,) = here.starts(stays)[1].nodes
    here.cluster.kill_node(node)
    here.cluster.mark_down(node)
    here.cluster.start_slurmd(node)
    assert here.ended(stays, 2, 180).end == "settled"
    assert [one.end for one in here.starts(stays)] == ["preempted", None, "settled"]
    assert [one.end for one in here.starts(gone)] == ["preempted", "cancelled"]
    assert "lost" in {row["outcome"] for row in here.rows("attempts")}
    same_as(here, undisturbed)
    assert {row["slurm_job_id"] for row in here.rows("trials")} >= {stays}
    wait_for(lambda: here.queue() == [stranger], 30)
    here.eos("cancel", str(here.run))
    assert here.queue() == [stranger]


def test_a_time_limit_and_a_lost_controller_lose_nothing(
    place: Callable[[str], Place], undisturbed: tuple[Rows, Rows]
) -> None:
    here = place("run")
    profile = PROFILE.replace("time: 10:00", "time: 2")
    (job,) = here.submitted(profile, sweep=SWEEP)
    # SLURM counts in minutes, and Ray may need most of one: hold up what would be done by then.
    (slow, *_) = {mark.owner.pid for mark in here.at_work(job)}
    os.kill(slow, signal.SIGSTOP)
    wait_for(lambda: list((here.run / "claims").glob(".stop-*")), 120)
    os.kill(slow, signal.SIGCONT)
    first = here.ended(job)
    assert (first.end, first.requeued) == ("time_limit", True)
    assert (first.ends_at or 0) > (first.ended_at or 0)

    here.cluster.command("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    here.at_work(job, 1)
    here.cluster.stop_controller()
    try:
        os.kill(here.driver(), signal.SIGTERM)
        assert here.ended(job, 1).end == "preempted"
        # It says that it goes back before it asks for that, for SLURM then ends it at once.
        wait_for(lambda: not here.starts(job)[1].requeued, 60)
        second = here.starts(job)[1]
        assert "could not be put back" in (second.detail or "")
        state = json.loads(here.eos("status", str(here.run), "--json").stdout)
        assert state["slurm_silence"]
        assert [one["phase"] for one in state["jobs"]] == ["ended"]
    finally:
        here.cluster.start_controller()
    here.cluster.wait_idle(60)
    until_gone(lambda: here.processes_of(job), 15)
    (here.folder / "site.yaml").write_text(PROFILE)
    resumed = here.eos(
        "resume", str(here.run), "--cluster", str(here.folder / "site.yaml"),
        "--preflight-wait", "0", "--json",
    )  # fmt: skip
    (job,) = json.loads(resumed.stdout)["submitted"]
    assert here.ended(job, 0, 180).end == "settled"
    same_as(here, undisturbed)
    files = (str(here.folder / "sweep.yaml"), "--cluster", str(here.folder / "site.yaml"))
    again = here.eos("launch", *files, "--run-dir", str(here.run))
    assert "nothing is missing" in again.stdout
    assert "attempt 2 resumes at step" in "".join(
        path.read_text() for path in Path(here.run / "logs").glob("*.log")
    )
