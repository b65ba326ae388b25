"""The file by which nodes find their head, the folder on each, and the addresses they use."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_for

from orchestrator.cluster import Allocation, AllocationError, NoHeadError
from orchestrator.cluster.processes import CLUSTER_VARIABLE, cluster_processes, end_all
from orchestrator.cluster.rendezvous import (
    LONGEST_ROOT,
    Rendezvous,
    announce,
    await_head,
    default_root,
    meeting_place,
    own_address,
    private_folder,
)


def allocation(**changes: object) -> Allocation:
    content = {"nodes": ("a", "b"), "node_id": 0, "cpus": 1, "gpus": 0, "memory": None}
    return Allocation(**{**content, "job_id": "5", "step": "0", **changes})  # type: ignore[arg-type]


def test_what_the_head_announces_is_found_and_private(tmp_path: Path) -> None:
    path = meeting_place(tmp_path, allocation())
    said = Rendezvous("10.0.0.1:7", ("10.0.0.1", 9), "secret", {"torch": "2.13.0"})
    announce(path, said)
    assert await_head(path, 1) == said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["5.0.0.json"]


def test_jobs_restarts_and_steps_do_not_meet(tmp_path: Path) -> None:
    others = [allocation(), allocation(job_id="6"), allocation(restart=1), allocation(step="1")]
    assert len({meeting_place(tmp_path, one) for one in others}) == 4


def test_a_head_that_never_comes_is_waited_for_in_vain_with_a_reason(tmp_path: Path) -> None:
    path = meeting_place(tmp_path, allocation())
    with pytest.raises(NoHeadError, match=r"did not start within 0 s.*5\.0\.0\.json"):
        await_head(path, 0.3)


def test_a_node_alone_is_to_be_reached_from_nowhere_else() -> None:
    alone = allocation(nodes=("a",))
    assert own_address(alone) == "127.0.0.1"
    # Given another address, Ray would listen on all interfaces.
    assert own_address(alone, "eth0") == "127.0.0.1"


def test_a_named_interface_is_used_and_an_unknown_one_refused() -> None:
    assert own_address(allocation(), "lo") == "127.0.0.1"
    with pytest.raises(AllocationError, match=r"interface is 'ib7'.*here: .*lo"):
        own_address(allocation(), "ib7")


def test_the_folder_is_private_short_and_those_of_the_dead_are_removed() -> None:
    root = Path("/tmp") / f"eos-test-{os.getpid()}"
    root.mkdir(mode=0o700)
    try:
        left = root / f"eos-{os.getuid()}" / "1-1"
        left.mkdir(parents=True)
        folder = private_folder(root)
        assert folder.parent == left.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert not left.exists()
        folder.rmdir()
        folder.parent.rmdir()
    finally:
        root.rmdir()


def test_a_default_temporary_folder_with_a_long_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * LONGEST_ROOT)))
    assert default_root() == Path("/tmp")


def test_only_the_processes_of_a_cluster_are_ended() -> None:
    code = "import time; time.sleep(60)"
    mine, other = (
        subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, CLUSTER_VARIABLE: cluster}
        )
        for cluster in ("test.1", "test.10")
    )
    try:
        assert [process.pid for process in cluster_processes("test.1")] == [mine.pid]
        assert end_all("test.1") == []
        assert mine.wait(10) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(10)


def test_a_cluster_does_not_outlive_the_process_that_leads_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, subprocess, sys; from pathlib import Path\n"
        "from orchestrator.cluster.processes import CLUSTER_VARIABLE, guarded, shielded\n"
        "os.environ[CLUSTER_VARIABLE] = 'test.2'\n"
        "with guarded('test.2', Path(sys.argv[1])), shielded():\n"
        "    subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    ended = subprocess.run([sys.executable, "-c", code, folder], timeout=60, check=False)
    assert ended.returncode == -9
    wait_for(lambda: not cluster_processes("test.2") and not folder.exists(), 15)
