"""A time limit, and a controller that is lost: mostly waiting, so in a file of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from support.disturbed import SWEEP, Tables, assert_undisturbed
from support.launching import PROFILE, Place
from support.waiting import until_gone, wait_for


def test_a_time_limit_and_a_lost_controller_lose_nothing(
    place: Callable[[str], Place], undisturbed_tables: Callable[[], Tables]
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
        assert "could not be requeued" in (second.detail or "")
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
    assert_undisturbed(here, undisturbed_tables())
    files = (str(here.folder / "sweep.yaml"), "--cluster", str(here.folder / "site.yaml"))
    again = here.eos("launch", *files, "--run-dir", str(here.run))
    assert "nothing is missing" in again.stdout
    assert "attempt 2 resumes at step" in "".join(
        path.read_text() for path in Path(here.run / "logs").glob("*.log")
    )
