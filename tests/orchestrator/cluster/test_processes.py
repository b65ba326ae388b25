"""Which processes are a cluster's, also those that have lost what they are known by."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from support.waiting import wait_for

from orchestrator.cluster.processes import (
    CLUSTER_VARIABLE,
    cluster_processes,
    end_all,
    lives,
    named,
)
from orchestrator.cluster.ray_private import SETTINGS

WITHOUT_AN_ID = "env -i sleep 60 & echo $!; wait"
"""What a raylet starts, once it has overwritten its environment."""


@contextmanager
def parent_and_child(cluster: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with the id, and one that it has started, whose environment is empty."""
    parent = subprocess.Popen(
        ["sh", "-c", WITHOUT_AN_ID],
        env={**os.environ, CLUSTER_VARIABLE: cluster},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: _command(child).startswith(b"sleep"), 10)
    both = cluster_processes(cluster)
    try:
        yield parent, child
    finally:
        end_all(cluster, known=both)
        parent.communicate(timeout=10)


def test_what_a_process_with_the_id_starts_is_the_clusters_too() -> None:
    with parent_and_child("test.descendants") as (parent, child):
        found = cluster_processes("test.descendants")
        assert {process.pid for process in found} == {parent.pid, child}
        assert end_all("test.descendants") == []
        assert not _command(child)


def test_what_was_known_is_ended_after_its_parent_and_its_id_are_gone() -> None:
    with parent_and_child("test.known") as (parent, child):
        known = cluster_processes("test.known")
        parent.kill()
        parent.wait(10)
        assert not cluster_processes("test.known")  # an orphan without an id
        assert [process.pid for process in cluster_processes("test.known", known)] == [child]
        assert end_all("test.known", known=known) == []
        assert not _command(child)


def test_a_number_that_is_used_again_is_not_taken_for_what_was_known() -> None:
    with parent_and_child("test.again") as (_, child):
        (known,) = (process for process in cluster_processes("test.again") if process.pid == child)
        earlier = psutil.Process(child)
        earlier._ident = (child, known.create_time() - 1)  # as psutil would have it
        assert cluster_processes("test.other", [earlier]) == set()
        assert cluster_processes("test.other", [known]) == {known}


def test_rays_processes_keep_their_id_when_they_give_themselves_a_title() -> None:
    code = (
        "import ray._raylet; from pathlib import Path\n"
        "ray._raylet.setproctitle('ray::DashboardAgent')\n"
        "print('EOS_CLUSTER=test.title' in Path('/proc/self/environ').read_text())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **SETTINGS, CLUSTER_VARIABLE: "test.title"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ended.stdout == "True\n"


def test_a_child_that_died_at_once_is_still_known_by_its_name() -> None:
    process = subprocess.Popen(["true"])
    wait_for(lambda: not _command(process.pid), 10)  # dead, and not reaped
    ((found, name),) = (
        (one, name) for one, name in named("test.dead", {"true"}).items() if one.pid == process.pid
    )
    assert (name, lives(found)) == ("true", False)
    process.wait(10)
    assert not [one for one in named("test.dead", {"true"}) if one.pid == process.pid]


def _command(pid: int) -> bytes:
    """The command line of a process; nothing once it is dead."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
