"""Where the numbers come from: versions, machines, times and work, as the tables have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.report.page.answers import Answers

QUESTIONS = {
    "programs": "SELECT version, git_commit, git_dirty, torch_version, count(*) AS n FROM made "
    "GROUP BY version, git_commit, git_dirty, torch_version",
    "machines": "SELECT hostname, device, world_size, count(*) AS n, "
    "fsum(wall_s) / 3600 AS hours FROM made GROUP BY hostname, device, world_size",
    "work": "SELECT count(*) AS trials, strftime(min(started_at), '%Y-%m-%d %H:%M') AS started, "
    "strftime(max(finished_at), '%Y-%m-%d %H:%M') AS finished, fsum(wall_s) / 3600 AS hours, "
    "sum(gradients)::BIGINT AS gradients, sum(hvps)::BIGINT AS hvps, "
    "count(DISTINCT slurm_job_id) AS jobs FROM made",
}

_MOST = 40
"""Rows that are listed, those with the most trials."""


@dataclass(frozen=True)
class Provenance:
    """``programs`` and ``machines`` are rows with a count of trials; ``work`` has the totals."""

    programs: list[dict[str, Any]]
    machines: list[dict[str, Any]]
    n_machines: int
    work: dict[str, Any]


def provenance(found: Answers) -> Provenance:
    """What the rows of a run's trials say of their making."""
    machines = found["machines"]
    return Provenance(found["programs"][:_MOST], machines[:_MOST], len(machines), found["work"][0])
