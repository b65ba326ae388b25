"""The SLURM that everything else is tried on: it is real, and it leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Loopback, LoopbackError
from loopback.processes import Process, descendants, end, kill_trees
from support.slurm import job_state, lines, submit
from support.waiting import wait_for

COMMAND = Path(__file__).parents[2] / "slurm" / "loopback"

# A signal may reach the child before its shell: the shell then stays for its trap, and what it
# starts ends by itself, so that no later test finds it.
ENDLESS = "sleep 600 & wait; sleep 1"


@pytest.fixture(scope="session")
def cluster(accounted_cluster: Loopback) -> Loopback:
    """One SLURM for all tests here."""
    return accounted_cluster


def processes_of(cluster: Loopback) -> list[Process]:
    daemons = [one for found in cluster.daemons().values() for one in found]
    return daemons + descendants(daemons)


def test_a_job_of_two_nodes_gets_the_gpus_and_the_memory_it_asked_for(
    idle_cluster: Loopback, output: Callable[[str], str]
) -> None:
    path = output("ranks")
    asked = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=2", "--mem=3000")
    seen = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    submit(idle_cluster, f"srun sh -c '{seen}'; {ENDLESS}", *asked, f"--output={path}")
    assert sorted(lines(path, 2)) == ["n1 0,1", "n2 0,1"]
    assert "AllocMem=3000" in idle_cluster.command("scontrol", "show", "node", "n1")


def test_two_jobs_on_a_node_get_different_gpus(
    idle_cluster: Loopback, output: Callable[[str], str]
) -> None:
    path = output("gpus")
    for _ in range(2):
        script = f"echo $CUDA_VISIBLE_DEVICES >> {path}; {ENDLESS}"
        submit(idle_cluster, script, "--nodelist=n1", "--gpus=1")
    assert sorted(lines(path, 2)) == ["0", "1"]


def test_a_job_of_another_user_runs_as_that_user(
    idle_cluster: Loopback, output: Callable[[str], str]
) -> None:
    path = output("user")
    submit(idle_cluster, f"id -un > {path}", user="nobody")
    assert lines(path, 1) == ["nobody"]


def test_a_preempted_job_is_warned_requeued_and_runs_again(
    own_folder: Path, output: Callable[[str], str]
) -> None:
    # Without grace, for SLURM looks every 30 s only whether a time of grace is over.
    cluster = Loopback(own_folder, nodes=1, settings={"GraceTime": 0})
    cluster.up()
    path = output("preempted")
    note = f"echo start ${{SLURM_RESTART_COUNT:-0}} >> {path}"
    trap = f"trap 'echo warned >> {path}; exit 1' TERM"
    low = submit(cluster, f"{trap}; {note}; {ENDLESS}", "--exclusive")
    assert lines(path, 1) == ["start 0"]
    urgent = submit(cluster, "sleep 1", "--exclusive", "--partition=urgent")
    assert lines(path, 3) == ["start 0", "warned", "start 1"]
    assert job_state(cluster, urgent) == "COMPLETED"
    assert job_state(cluster, low) == "RUNNING"


def test_a_node_that_loses_its_power_takes_its_processes_along_and_its_job_runs_elsewhere(
    idle_cluster: Loopback, output: Callable[[str], str]
) -> None:
    path = output("lost")
    note = f"echo $SLURMD_NODENAME ${{SLURM_RESTART_COUNT:-0}} >> {path}"
    submit(idle_cluster, f"setsid -f sleep 600; {note}; {ENDLESS}", "--gpus=1")
    ((node, restarts),) = (line.split() for line in lines(path, 1))
    assert restarts == "0"
    keepers = idle_cluster.daemons()[node]
    wait_for(lambda: len(descendants(keepers, "sleep")) == 2)
    idle_cluster.kill_node(node)
    assert not descendants(keepers)
    idle_cluster.mark_down(node)
    other = {"n1": "n2", "n2": "n1"}[node]
    assert lines(path, 2)[1] == f"{other} 1"
    idle_cluster.start_slurmd(node)


def test_a_job_outlives_its_slurmd_and_the_controller(
    idle_cluster: Loopback, output: Callable[[str], str]
) -> None:
    path, go_on = output("outlives"), Path(output("go_on"))
    note = f"echo $SLURMD_NODENAME >> {path}"
    waiting = f"while [ ! -e {go_on} ]; do sleep 0.2; done"
    job = submit(idle_cluster, f"{note}; {waiting}; echo end >> {path}")
    (node,) = lines(path, 1)
    idle_cluster.stop_controller()
    assert "DOWN" in idle_cluster.command("scontrol", "ping", check=False)
    idle_cluster.kill_slurmd(node)
    go_on.touch()
    assert lines(path, 2)[1] == "end"
    idle_cluster.start_controller()
    idle_cluster.start_slurmd(node)
    wait_for(lambda: job_state(idle_cluster, job) == "COMPLETED")


def test_sacct_knows_a_job_and_fails_while_slurmdbd_is_away(accounted_cluster: Loopback) -> None:
    job = submit(accounted_cluster, "exit 3")
    since = ("-S", "now-1hour")
    columns = ("--noheader", "--parsable2", "-X", "-o", "jobid,state,exitcode")
    ask = ("sacct", *since, *columns, "-j", job)
    wait_for(lambda: accounted_cluster.command(*ask) == f"{job}|FAILED|3:0\n")
    accounted_cluster.stop_accounting()
    with pytest.raises(LoopbackError, match="Connection refused"):
        accounted_cluster.command(*ask)
    accounted_cluster.start_accounting()
    assert accounted_cluster.command(*ask) == f"{job}|FAILED|3:0\n"


def test_two_beside_each_other_do_not_clash_and_one_goes_down_without_a_trace(
    cluster: Loopback, own_folder: Path, output: Callable[[str], str]
) -> None:
    asked = ["--folder", own_folder, "--nodes", "1", "--set", "MaxArraySize=11"]
    subprocess.run([sys.executable, COMMAND, "up", *asked], check=True, timeout=90)
    second = Loopback.found(own_folder)
    assert second is not None
    assert second.settings == {"MaxArraySize": "11"}
    path = output("second")
    submit(
        second,
        f"setsid -f sleep 600; echo $SLURMD_NODENAME > {path}; {ENDLESS}",
        "--output=/dev/null",
    )
    assert lines(path, 1) == ["n1"]
    with pytest.raises(LoopbackError, match="take it down"):
        second.up()
    with pytest.raises(LoopbackError, match="Invalid job array"):
        submit(second, "true", "--array=0-20")

    own, others = processes_of(second), processes_of(cluster)
    assert len(own) >= 9  # munged, slurmctld and its helper, keeper, slurmd, step, script, sleeps
    second.down()
    assert not [one for one in own if one.alive]
    assert not own_folder.exists()
    assert all(one.alive for one in others)
    second.down()


def test_work_left_by_a_crash_is_resumed(own_folder: Path) -> None:
    crashed = Loopback(own_folder, nodes=1, gpus=0)
    crashed.folder.mkdir()
    kept = crashed.folder / "kept"
    kept.touch()
    crashed.up()
    daemons = [one for found in crashed.daemons().values() for one in found]
    kill_trees(daemons)
    for daemon in daemons:
        end(daemon, first=signal.SIGKILL)
    crashed.up()
    assert crashed.command("sinfo", "--noheader", "--format=%t %D", "-p", "main") == "idle 1\n"
    with pytest.raises(LoopbackError, match="accounting storage is disabled"):
        crashed.command("sacct")
    crashed.down()
    assert list(crashed.folder.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"nodes": 0}, "nodes: 0 is less than 1"),
        ({"folder": Path("/tmp") / ("x" * 80)}, "longer than 64 characters"),
        ({"folder": Path("/tmp/two words")}, "holds a character"),
        ({"settings": {"MaxArraySiez": 5}}, "unrecognized key: MaxArraySiez"),
    ],
)
def test_an_impossible_cluster_is_one_sentence_and_leaves_nothing(
    shape: dict[str, object], sentence: str, own_folder: Path
) -> None:
    with pytest.raises(LoopbackError, match=sentence):
        Loopback(**{"folder": own_folder, **shape}).up()  # type: ignore[arg-type]
    assert not own_folder.exists()
