"""Ray of a run's own: signals while it starts and ends, and several at once on one machine."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loopback.processes import Process, descendants
from support.launching import SOURCE
from support.listeners import listeners
from support.processes import started_with

LEADER = """
import sys
from pathlib import Path
from orchestrator.signals import hold
hold()
print("ready", flush=True)
from orchestrator.cluster import Allocation, start
from orchestrator.engine.interruption import Interruption
run = Path(sys.argv[1])
with Interruption(run, "a" * 32, patient=True) as interruption:
    interruption.settle()
    with start(Allocation(("localhost",), 0, 1, 0, None), run):
        pass
print("over")
"""


def test_no_signal_ends_a_job_while_its_ray_starts_or_ends(tmp_path: Path) -> None:
    """Ray takes SIGTERM for itself at its start, and at its end it gives it back to the system."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ) as leader:
        try:
            assert said(leader) == "ready"
            end = time.monotonic() + 120
            while leader.poll() is None and time.monotonic() < end:
                leader.terminate()
                time.sleep(0.005)
            assert (leader.returncode, said(leader)) == (0, "over")
        finally:
            leader.kill()


CLUSTER = """
import sys
from pathlib import Path
from orchestrator.cluster import Allocation, start
with start(Allocation(("localhost",), 0, 1, 0, None), Path(sys.argv[1])) as cluster:
    import ray
    print(ray.get_runtime_context().gcs_address, flush=True)
    for line in sys.stdin:
        print(ray.get(ray.remote(lambda: 6 * 7).remote(), timeout=60), flush=True)
"""


@contextmanager
def clusters(number: int, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """So many clusters of one node, started at the same moment by processes of one user."""
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text("f" * 64)  # left by an earlier Ray of the user
    environment = {**os.environ, "HOME": str(folder), "PYTHONPATH": str(SOURCE)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(number)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def listening(pid: int) -> set[str]:
    """The addresses on which a process and all that it started accept connections."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    family = [pid, *(one.pid for one in descendants([Process(pid, started)]))]
    return {address for one in family for address, _ in listeners(one)}


def idle_workers(home: Path) -> list[str]:
    """The commands of Ray's idle workers in this home."""
    return [
        one.command
        for one in started_with(HOME=str(home))
        if ("default_worker.py" in one.command and one.name != "raylet") or "IDLE" in one.command
    ]


def only_here(address: str) -> bool:
    """Whether an address is of the loopback interface."""
    parsed = ipaddress.ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.timeout(300)
def test_clusters_that_start_at_once_on_one_node_do_not_meet(tmp_path: Path) -> None:
    with clusters(4, tmp_path) as four:
        addresses = [said(process) for process in four]
        assert len(set(addresses)) == 4
        # Alone on its node, a cluster is to be reached from nowhere else.
        for process, address in zip(four, addresses, strict=True):
            assert address.startswith("127.0.0.1:")
            assert {only_here(address) for address in listening(process.pid)} == {True}
        first, *others = four
        # An idle worker for each of a node's 128 CPUs would take long to start.
        assert idle_workers(tmp_path) == []
        first.communicate(timeout=60)
        assert first.returncode == 0
        for process in others:
            ask(process)
        assert [said(process) for process in others] == ["42"] * 3
        victim = others.pop()
        victim.kill()
        victim.wait(10)
        ask(others[0])
        assert said(others[0]) == "42"
