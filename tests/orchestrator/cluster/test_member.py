"""A node that joins a head's Ray: a start that fails is tried again, and its reason is said."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.cluster.member import _join
from orchestrator.cluster.processes import CLUSTER_VARIABLE
from orchestrator.cluster.ray_private import STARTS


@pytest.fixture
def join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Join by a shell script, which finds the number of the try in ``$tries``."""
    monkeypatch.setenv(CLUSTER_VARIABLE, "test.member")
    warnings: list[str] = []

    def join(script: str, servers: object = None, over: bool = False) -> str | None:
        news = SimpleNamespace(over=threading.Event())
        if over:
            news.over.set()
        count = f"echo >> {tmp_path}/tries; tries=$(wc -l < {tmp_path}/tries); "
        quiet = SimpleNamespace(death=None, expect=lambda: None)
        command = ["sh", "-c", count + script]
        return _join(command, tmp_path, servers or quiet, news, warnings.append)  # type: ignore[arg-type]

    join.warnings = warnings  # type: ignore[attr-defined]
    return join


def test_a_start_that_fails_is_tried_again(join) -> None:
    assert join("echo the port is taken; [ $tries = 3 ]") is None
    again = "Ray did not start; trying again: the port is taken"
    assert join.warnings == [again] * (STARTS - 1)


def test_a_start_that_keeps_failing_is_given_up_with_its_last_message(join) -> None:
    assert join("echo it started; echo $tries >&2; exit 4") == f"it started {STARTS}"
    assert join("exit 4") == "exit status 4"


def test_a_start_whose_server_dies_is_not_waited_for(join) -> None:
    death = "Ray's raylet on node n2 died"
    servers = SimpleNamespace(death=death, expect=lambda: None)
    assert join("sleep 60", servers) == death
    assert join.warnings == [f"Ray did not start; trying again: {death}"] * (STARTS - 1)


def test_nothing_is_started_for_a_run_that_is_over(join) -> None:
    assert join("exit 4", over=True) is None
    assert join.warnings == []
