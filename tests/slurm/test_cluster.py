"""Ray inside a job: over two nodes, whole or not at all, closed to strangers, gone at the end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Loopback
from support.launching import PROFILE, Place
from support.waiting import until_gone, wait_for

from jobs.ongoing import OngoingTrial
from orchestrator.cluster.rendezvous import await_head
from orchestrator.run_directory import sweep_of

NOBODY = 65_534

TOGETHER = """
name: together
problem:
  {dataset: digits, n_train: 203, width: 16, depth: 2, activation: tanh, loss: mse, dtype: float64}
eta: {unit: absolute, values: [0.2]}
stop: {epsilon: [0.3, 0.15], max_steps: 4000}
resources: {workers: 4, cpus_per_worker: 1}
"""

ASK = """
import os, sys, time, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False)
except BaseException as error:
    print("refused:", type(error).__name__, str(error)[:300].replace(chr(10), " "))
else:
    end = time.monotonic() + 60
    while (resources := ray.cluster_resources()).get("CPU") != 4 and time.monotonic() < end:
        time.sleep(0.2)
    print("joined:", resources["CPU"], resources["GPU"])
"""


def asking(address: str, token: str | None) -> subprocess.Popen[str]:
    """A process of ours that wants to drive a cluster, with a token or without any."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    if token is not None:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    environment |= {"HOME": "/nonexistent", "RAY_gcs_rpc_server_connect_timeout_s": "5"}
    return subprocess.Popen(
        [sys.executable, "-c", ASK, address],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def answer(process: subprocess.Popen[str], seconds: float = 90) -> str:
    """What it says; ``silent`` where the cluster let it wait."""
    try:
        return process.communicate(timeout=seconds)[0] or "ended without a word"
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "silent"


def as_nobody(*command: str) -> int:
    """The exit status of a command of another user."""
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False
    ).returncode


def holds(path: Path, secret: bytes) -> bool:
    """Whether something is in a file; other clusters of this host may be removing theirs."""
    try:
        return path.is_file() and not path.is_symlink() and secret in path.read_bytes()
    except FileNotFoundError:
        return False


def test_a_trial_over_two_nodes_of_two_ranks_in_a_cluster_closed_to_strangers(
    place: Callable[[str], Place],
) -> None:
    here = place("run")
    profile = PROFILE.replace("cpus_per_node: 1", "cpus_per_node: 2\nnodes: 2\ngpus_per_node: 2")
    (job,) = here.submitted(profile, sweep=TOGETHER)
    (meeting,) = wait_for(
        lambda: list((here.run / "slurm" / "rendezvous").glob(f"{job}.0.0-*.json")), 90
    )
    head = await_head(meeting, 1)

    # Only who has the token gets in; who does sees every CPU and GPU of both nodes.
    mine, wrong, none = (asking(head.ray, one) for one in (head.token, "0" * 64, None))
    assert as_nobody("cat", str(meeting)) != 0
    assert as_nobody("ls", str(here.run)) != 0
    assert as_nobody("ls", "/tmp/eos-0") != 0
    everyone = wait_for(lambda: here.processes_of(job, 1, "raylet") and here.processes_of(job), 90)
    assert as_nobody("cat", f"/proc/{everyone[0]}/environ") != 0

    # The token is where its processes have it, in the file that they meet by, and nowhere else.
    secret = head.token.encode()
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(secret in line for line in lines)
    folders = [here.run, *Path("/tmp/eos-0").glob("*/session_*/logs")]
    assert [path for folder in folders for path in folder.rglob("*") if holds(path, secret)] == [
        meeting
    ]

    assert answer(mine) == "joined: 4.0 4.0\n"
    for stranger in (wrong, none):
        assert "joined" not in answer(stranger, 10)  # they had as long as we had

    assert here.ended(job, 0, 180).end == "settled"
    until_gone(lambda: here.processes_of(job), 15)
    assert not meeting.exists()
    (column,) = sweep_of(here.run).columns
    rows = {(row["trial_id"], row["epsilon"]): row for row in here.rows("trials")}
    assert {row["world_size"] for row in rows.values()} == {4}
    for trial in (column.flow(), column.at(0.2)):
        run = OngoingTrial(trial)
        run.advance()
        for alone in run.result().crossings:
            together = rows[trial.trial_id, alone.epsilon]
            assert together["steps"] == alone.steps
            assert together["train_loss"] == pytest.approx(alone.train_loss, rel=1e-9)
            assert together["sharpness"] == pytest.approx(alone.sharpness, rel=2e-3)
            assert together["l1_norm"] == pytest.approx(alone.l1_norm, rel=1e-9)


def test_a_job_that_lacks_a_node_ends_at_once_and_names_it(place: Callable[[str], Place]) -> None:
    here = place("run")
    root = here.folder / "t"
    root.mkdir()
    python = here.folder / "python"
    python.write_text(
        f'#!/bin/sh\nset -- {shlex.quote(sys.executable)} "$@"\n'
        f'[ "$SLURMD_NODENAME" = n2 ] || exec "$@"\n'
        f'exec unshare --mount sh -c \'mount -t tmpfs -o ro none {root} && exec "$@"\' sh "$@"\n'
    )
    python.chmod(0o755)
    (job,) = here.submitted(PROFILE + f"nodes: 2\npython: {python}\ntemp_root: {root}\n")
    ended = here.ended(job)
    assert ended.end == "error"
    detail = ended.detail or ""
    assert re.search(r"node n2 did not join: temp root .* must be writable: Read-only", detail)
    until_gone(lambda: job in here.queue(), 30)
    assert re.search(r"ExitCode=[1-9]", here.cluster.command("scontrol", "show", "job", job))
    assert detail.partition(": ")[2] in here.log(job)
    assert here.rows("trials") == []
    assert not here.processes_of(job)
    why = here.eos("why", str(here.run)).stdout
    assert "n2" in why


def test_a_job_whose_head_is_killed_leaves_no_process_and_accounting_knows_how_it_ended(
    accounted_cluster: Loopback, short_folder: Callable[[], Path]
) -> None:
    folder = short_folder()
    here = Place(accounted_cluster, folder, folder / "run")
    sweep = TOGETHER.replace("workers: 4", "workers: 2")
    (job,) = here.submitted(PROFILE + "nodes: 2\n", sweep=sweep)
    here.at_work(job)
    os.kill(here.driver(), signal.SIGKILL)
    until_gone(lambda: here.processes_of(job), 15)
    until_gone(lambda: job in here.queue(), 30)
    (start,) = here.starts(job)
    assert start.end is None  # it could not say a word
    (seen,) = json.loads(here.eos("status", str(here.run), "--json").stdout)["jobs"]
    assert (seen["phase"], seen["end"]) == ("ended", "FAILED")

    def told() -> list[dict[str, object]]:
        rows = json.loads(here.eos("why", str(here.run), "--json").stdout)
        return [row for row in rows if row["kind"] == "job" and row["source"] == "sacct"]

    (row,) = wait_for(told, 30)
    assert (row["slurm_job_id"], row["outcome"]) == (job, "FAILED")
    assert here.cluster.command("sacct", "--noheader", "--jobs", job, "--format=State").split()
