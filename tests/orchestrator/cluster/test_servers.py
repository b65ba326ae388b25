"""Ray's servers on a machine: the first that dies is named, with the end of its log."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import wait_for

from orchestrator.cluster.processes import (
    CLUSTER_VARIABLE,
    OF_A_MEMBER,
    Servers,
    cluster_processes,
    last_lines,
)

LOG = """\
[2026-01-02 03:04:05,678 I 1 1] (raylet) main.cc:1: first
[2026-01-02 03:04:05,679 I 1 1] (raylet) main.cc:2: second
- a count of its own: 7

[2026-01-02 03:04:05,680 E 1 1] (raylet) main.cc:3: third
- another count: 8
"""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for session in ("session_1", "session_2"):
        (tmp_path / session / "logs").mkdir(parents=True)
    os.utime(tmp_path / "session_1" / "logs", (1, 1))
    return tmp_path / "session_2" / "logs"


@pytest.fixture
def raylet(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = tmp_path / "raylet"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen(
        [program, "60"], env={**os.environ, CLUSTER_VARIABLE: "test.servers"}
    )
    wait_for(lambda: cluster_processes("test.servers"), 10)
    yield process
    process.kill()
    process.wait(10)


def test_a_server_that_dies_is_named_with_the_end_of_its_log(
    tmp_path: Path, logs: Path, raylet: subprocess.Popen[bytes]
) -> None:
    (logs / "raylet.out").write_text(LOG)
    (logs / "raylet.err").write_text("killed\n")
    deaths: list[str] = []
    with Servers(OF_A_MEMBER, "test.servers", tmp_path, "n7", deaths.append) as servers:
        servers.check()
        assert servers.death is None
        raylet.kill()
        raylet.wait(10)
        wait_for(lambda: deaths, 10)
        assert servers.death == deaths[0]
        servers.expect()
        assert servers.death is None
    head, *lines = deaths[0].splitlines()
    assert head == "Ray's raylet on node n7 died; the last lines of its log:"
    assert [line.split(": ")[-1] for line in lines] == ["first", "second", "third", "  killed"]
    assert len(deaths) == 1


def test_a_server_without_a_log_is_named_nevertheless(
    tmp_path: Path, raylet: subprocess.Popen[bytes]
) -> None:
    with Servers(OF_A_MEMBER, "test.servers", tmp_path, "n7") as servers:
        servers.check()
        raylet.kill()
        raylet.wait(10)
        wait_for(lambda: servers.death, 10)
    assert servers.death == "Ray's raylet on node n7 died"


FATAL = (
    "[2026-01-02 03:04:05,681 C 1 1] (raylet) node_manager.cc:4: An unexpected system state has "
    "occurred. You have likely discovered a bug in Ray. Please report this issue at "
    "https://github.com/ray-project/ray/issues and we'll work with you to fix it. Check failed: "
    "found.has_value() Timed out waiting for file /tmp/eos-0/1-1/session_2/metrics_agent_port_1"
)


def test_of_what_was_fatal_the_reason_is_shown_and_once(tmp_path: Path, logs: Path) -> None:
    (logs / "raylet.out").write_text(LOG + FATAL + "\n")
    (logs / "raylet.err").write_text(FATAL + "\n*** StackTrace Information ***\n")
    lines = last_lines(tmp_path, "raylet")
    assert len(lines) == 4
    assert "node_manager.cc:4: An unexpected system state" in lines[-1]
    assert "Timed out waiting for file" in lines[-1]
    assert len(lines[-1]) < len(FATAL)


def test_of_a_log_without_records_the_last_lines_are_shown(tmp_path: Path, logs: Path) -> None:
    (logs / "gcs_server.out").write_text("\n".join(f"line {number}\n" for number in range(9)))
    assert last_lines(tmp_path, "gcs_server") == [f"line {number}" for number in range(4, 9)]
