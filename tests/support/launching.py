"""Runs of the installed command on the SLURM of the tests."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from loopback import Loopback
from support import in_process
from support.processes import started_with
from support.waiting import wait_for

from orchestrator.ledger import Mark, read_marks
from orchestrator.slurm.records import StartRecord, read_jobs
from orchestrator.store import PROVENANCE, Store

EOS = Path(sys.executable).with_name("eos")
SOURCE = Path(__file__).parents[2]
TINY = """
name: tiny
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, loss: mse}
eta: {values: [0.5, 1.0]}
stop: {epsilon: 0.3, max_steps: 2000}
"""

PROFILE = f"""
partition: main
cpus_per_node: 1
time: 10:00
interface: lo
setup: [export PYTHONPATH={shlex.quote(str(SOURCE))} RAY_worker_niceness=0]
"""


class Answer(NamedTuple):
    """The exit status of a command, and what it printed."""

    status: int
    stdout: str
    stderr: str


@dataclass
class Place:
    """A sweep file, a profile and a run directory, and ``eos`` applied to them."""

    cluster: Loopback
    folder: Path
    run: Path

    def eos(
        self, *arguments: str, expect: int = 0, without: tuple[str, ...] | None = None
    ) -> Answer:
        """Run ``eos`` in this process; in one of its own where variables are to be missing."""
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), **self.cluster.environment}
        if without is None:
            with mock.patch.dict(os.environ, environment):
                answer = Answer(*in_process.eos(*arguments))
        else:
            ended = subprocess.run(
                [EOS, *arguments],
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
                env={name: value for name, value in environment.items() if name not in without},
            )
            answer = Answer(ended.returncode, ended.stdout, ended.stderr)
        assert answer.status == expect, answer.stdout + answer.stderr
        return answer

    def launch(
        self,
        profile: str,
        *arguments: str,
        sweep: str = TINY,
        expect: int = 0,
        without: tuple[str, ...] | None = None,
    ) -> Answer:
        (self.folder / "sweep.yaml").write_text(sweep)
        (self.folder / "site.yaml").write_text(profile)
        files = (str(self.folder / "sweep.yaml"), "--cluster", str(self.folder / "site.yaml"))
        return self.eos(
            "launch", *files, "--run-dir", str(self.run), *arguments, expect=expect, without=without
        )

    def queue(self) -> list[str]:
        return self.cluster.command("squeue", "--noheader", "--format=%A").split()

    def has_no_jobs(self) -> bool:
        """Whether none is on record, once the jobs of the check have ended."""
        wait_for(lambda: self.queue() == [], 30)
        return not read_jobs(self.run)

    def submitted(self, profile: str, *arguments: str, sweep: str = TINY) -> list[str]:
        """The numbers of the jobs of a launch that does not ask the nodes first."""
        asked = ("--preflight-wait", "0", "--json", *arguments)
        jobs: list[str] = json.loads(self.launch(profile, *asked, sweep=sweep).stdout)["submitted"]
        return jobs

    def starts(self, job: str) -> tuple[StartRecord, ...]:
        """What is on record of each start of a job."""
        record = read_jobs(self.run).get(job)
        return () if record is None else record.starts

    def at_work(self, job: str, restart: int = 0, seconds: float = 180) -> list[Mark]:
        """The attempts under way in that start of a job, as soon as there are any."""

        def look() -> list[Mark]:
            return [
                mark
                for mark in read_marks(self.run)
                if mark.slurm_job_id == job
                and (mark.restart_count or 0) == restart
                and mark.owner.is_dead() is False
            ]

        return wait_for(look, seconds)

    def ended(self, job: str, restart: int = 0, seconds: float = 180) -> StartRecord:
        """The record of a start of a job, as soon as it says that it has ended."""

        def look() -> list[StartRecord]:
            return [one for one in self.starts(job) if one.restart == restart and one.end]

        return wait_for(look, seconds)[0]

    def rows(self, table: str) -> list[dict[str, Any]]:
        return Store(self.run).rows(table)

    def log(self, job: str) -> str:
        """What the first node of a job has printed, in all its starts."""
        return (self.run / "slurm" / job / f"{job}_0_log.out").read_text()

    def processes_of(
        self, job: str, node_id: int | None = None, name: str | None = None
    ) -> list[int]:
        """The processes of a job's Ray cluster on this host; of one node, or of one name."""
        found = []
        # Another SLURM of this host has jobs of the same numbers.
        for process in started_with(**self.cluster.environment):
            mark = process.environment.get("EOS_CLUSTER", "").split(".")
            if mark[0] == job and node_id in (None, int(mark[3])) and name in (None, process.name):
                found.append(process.pid)
        return found

    def driver(self) -> int:
        """The process that leads the run on the node whose lease is the newest."""
        leases = sorted(
            (self.run / "claims").glob("*.claim"), key=lambda path: path.stat().st_mtime
        )
        pid: int = json.loads(leases[-1].read_text())["owner"]["pid"]
        return pid


def science(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table without provenance, in a fixed order."""
    bare = [{key: row[key] for key in row if key not in PROVENANCE} for row in rows]
    return sorted(
        bare,
        key=lambda row: (row["trial_id"], -(row.get("epsilon") or 0.0), row.get("step") or 0),
    )
