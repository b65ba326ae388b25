"""Whatever befalls its jobs, a run ends with the table of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from support.disturbed import SWEEP, Tables, assert_undisturbed
from support.launching import PROFILE, Place
from support.waiting import until_gone, wait_for


def test_a_job_of_two_nodes_is_preempted_and_then_loses_a_raylet(
    place: Callable[[str], Place], undisturbed_tables: Callable[[], Tables]
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
    assert (first.end, first.requeued) == ("preempted", True)
    # SLURM may have put it back by itself before it asks for that.
    assert first.detail in ("SIGTERM", "SIGTERM; requeued by SLURM")
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
    assert_undisturbed(here, undisturbed_tables())


def test_two_jobs_are_put_back_at_once_one_is_cancelled_and_one_loses_its_node(
    place: Callable[[str], Place], undisturbed_tables: Callable[[], Tables]
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
    assert_undisturbed(here, undisturbed_tables())
    assert {row["slurm_job_id"] for row in here.rows("trials")} >= {stays}
    wait_for(lambda: here.queue() == [stranger], 30)
    here.eos("cancel", str(here.run))
    assert here.queue() == [stranger]
