"""Launching for real: what is submitted, what is refused, and that nobody else can read it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Loopback
from support.launching import PROFILE, TINY, Place
from support.waiting import wait_for

from orchestrator.store import Store

NOBODY = 65_534


@pytest.fixture(scope="session")
def cluster(accounted_cluster: Loopback) -> Loopback:
    """One SLURM for all tests here."""
    return accounted_cluster


def test_a_run_under_an_odd_path_with_hardly_an_environment(place: Callable[[str], Place]) -> None:
    here = place('it\'s "our" rün')
    python = here.folder / "our python"
    python.write_text(
        '#!/bin/sh\necho "node=$SLURMD_NODENAME gpus=$CUDA_VISIBLE_DEVICES '
        f'cpus=$SLURM_CPUS_PER_TASK"\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    extra = (
        f"python: {python}\ngpus_per_node: 1\n"
        'extra: {export: NONE, hold: true, comment: "it\'s"}\n'
    )
    asked = ("--jobs", "2", "--json")
    bare = ("LOGNAME", "USER", "HOME")
    first = json.loads(here.launch(PROFILE + extra, *asked, without=bare).stdout)
    assert len(first["submitted"]) == 2
    assert sorted(here.queue()) == sorted(first["submitted"])
    records = [path.stem for path in (here.run / "slurm" / "jobs").iterdir()]
    assert sorted(name.partition("-")[0] for name in records) == sorted(first["submitted"])

    # What a dry run shows is what was submitted.
    script = here.run / "slurm" / first["submitted"][0] / f"{first['submitted'][0]}_submission.sh"
    assert here.launch(PROFILE + extra, "--dry-run").stdout == script.read_text()

    # Jobs in the queue count, so that a second launch adds none.
    again = json.loads(here.launch(PROFILE + extra, *asked).stdout)
    assert (again["submitted"], sorted(again["live"])) == ([], sorted(first["submitted"]))

    # What jobs will unpickle is for their owner alone.
    files = [path for path in (here.run / "slurm").rglob("*") if path.is_file()]
    assert any(path.suffix == ".pkl" for path in files)
    assert {path.stat().st_mode & 0o077 for path in (here.run / "slurm").rglob("*")} == {0}
    for path in files:
        assert not readable_by(NOBODY, path)

    last, kept = first["submitted"]
    here.cluster.command("scancel", last)
    here.cluster.command("scontrol", "release", kept)
    # What is added while a job is at work is done by it, or by another if it is just ending.
    wait_for(lambda: list((here.run / "claims").glob("*.running")), 120)
    more = TINY.replace("loss: mse", "loss: mse, seed: [0, 1]")
    unasked = ("--preflight-wait", "0")
    here.launch(PROFILE + extra.replace("hold: true, ", ""), *unasked, sweep=more)
    here.cluster.wait_idle(200)
    rows = Store(here.run).rows("trials")
    assert sorted({(row["kind"], row["seed"]) for row in rows}) == [
        ("flow", 0), ("flow", 1), ("gd", 0), ("gd", 1),
    ]  # fmt: skip
    log = (here.run / "slurm" / kept / f"{kept}_0_log.out").read_text()
    # The step has the one GPU and the CPU that were asked for.
    assert re.search(r"node=n[12] gpus=[01] cpus=1\n", log)
    assert "Job completed successfully" in log


def test_a_node_that_sees_another_run_directory_is_found_before_anything_is_submitted(
    place: Callable[[str], Place],
) -> None:
    here = place("run")
    # On node n2 alone, another file system is mounted where the run directory is.
    python = here.folder / "python"
    python.write_text(
        f'#!/bin/sh\nset -- {shlex.quote(sys.executable)} "$@"\n'
        f'[ "$SLURMD_NODENAME" = n2 ] || exec "$@"\n'
        f'exec unshare --mount sh -c \'mount -t tmpfs none {here.run} && exec "$@"\' sh "$@"\n'
    )
    python.chmod(0o755)
    ended = here.launch(PROFILE + f"nodes: 2\npython: {python}\n", expect=2)
    problem = f"node n2: run directory {here.run} is not the one that the launch wrote to"
    assert problem in ended.stderr
    assert "node n1" not in ended.stderr
    assert here.has_no_jobs()

    answers = json.loads(
        here.eos("doctor", "--cluster", str(here.folder / "site.yaml"), "--run-dir", str(here.run),
                 "--json", expect=1).stdout
    )  # fmt: skip
    assert [row["found"] for row in answers if row["check"] == "node" and row["problem"]] == ["n2"]
    (measured,) = [row for row in answers if row["check"] == "a node's CPU"]
    assert (" Gflop/s (float64 " in measured["found"], measured["problem"]) == (True, None)


def test_what_a_node_lacks_and_what_slurm_refuses_is_said(place: Callable[[str], Place]) -> None:
    here = place("run")
    ended = here.launch(PROFILE.replace("interface: lo", "interface: ib9"), expect=2)
    assert "node n1: interface is 'ib9'; it must be one of lo" in ended.stderr
    ended = here.launch(PROFILE.replace("partition: main", "partition: other"), expect=2)
    assert "invalid partition specified: other" in ended.stderr
    ended = here.launch(PROFILE + "python: /no/python\n", expect=2)
    assert "node n1: the check did not get through" in ended.stderr
    assert "/no/python" in ended.stderr
    assert here.has_no_jobs()


def test_when_no_node_is_free_the_jobs_are_submitted_all_the_same(
    place: Callable[[str], Place],
) -> None:
    here = place("run")
    here.cluster.command("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null",
                         "--chdir=/", "--wrap=sleep 60")  # fmt: skip
    ended = here.launch(PROFILE, "--jobs", "2", "--preflight-wait", "1", "--json")
    assert "the nodes were not checked (no nodes were free within 1 s" in ended.stderr
    assert len(json.loads(ended.stdout)["submitted"]) == 2


@pytest.fixture
def limited(accounted_cluster: Loopback) -> Iterator[Loopback]:
    """A SLURM that takes three jobs of ours and no more."""
    configuration = Path(accounted_cluster.environment["SLURM_CONF"])
    before = configuration.read_text()

    def restart(text: str) -> None:
        accounted_cluster.stop_controller()
        configuration.write_text(text)
        accounted_cluster.start_controller()

    accounted_cluster.command("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=3")
    restart(before + "\nAccountingStorageEnforce=limits\n")
    yield accounted_cluster
    accounted_cluster.command("scancel", "--user=root")
    accounted_cluster.command("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    restart(before)
    accounted_cluster.wait_idle()


def test_jobs_beyond_the_site_s_limit_leave_those_before_them(
    limited: Loopback, short_folder: Callable[[], Path]
) -> None:
    folder = short_folder()
    here = Place(limited, folder, folder / "run")
    asked = ("--preflight-wait", "0", "--json", "--jobs")
    ended = here.launch(PROFILE + "extra: {hold: true}\n", *asked, "5")
    assert len(json.loads(ended.stdout)["submitted"]) == 3
    assert "3 of 5 jobs were submitted, then sbatch said" in ended.stderr
    assert "MaxSubmitJob" in ended.stderr
    left = [path.name for path in (here.run / "slurm").iterdir() if path.suffix in (".pkl", ".sh")]
    assert left == []
    ended = here.launch(PROFILE, *asked, "6", expect=2)
    assert "no job was submitted: sbatch says" in ended.stderr


def readable_by(user: int, path: Path) -> bool:
    """Whether another user can open a file."""
    reading = subprocess.run(
        ["cat", str(path)], capture_output=True, check=False, user=user, group=user, extra_groups=[]
    )
    return reading.returncode == 0
