"""Several questions to the trials and attempts of a run, answered in one reading of its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.store import query

Answers = Mapping[str, list[dict[str, Any]]]

_SHARED = """
settled AS MATERIALIZED (
    SELECT trial_id, kind, sweep, epsilon, eta, eta_over_eta_c, status, started_at,
           finished_at, wall_s, gradients, hvps, hostname, device, world_size, slurm_job_id,
           version, git_commit, git_dirty, torch_version
    FROM trials),
made AS MATERIALIZED (
    SELECT trial_id, any_value(kind) AS kind, min(started_at) AS started_at,
           max(finished_at) AS finished_at, max(wall_s) AS wall_s, max(gradients) AS gradients,
           max(hvps) AS hvps, any_value(hostname) AS hostname, any_value(device) AS device,
           any_value(world_size) AS world_size, any_value(slurm_job_id) AS slurm_job_id,
           any_value(version) AS version, any_value(git_commit) AS git_commit,
           any_value(git_dirty) AS git_dirty, any_value(torch_version) AS torch_version
    FROM settled GROUP BY trial_id),
tried AS MATERIALIZED (SELECT * FROM attempts)
"""
"""``settled`` are the rows of ``trials``, ``made`` has one for each trial with its totals."""


def answers(run: Path, questions: Mapping[str, str]) -> Answers:
    """The rows of each question, which is SQL over ``settled``, ``made`` and ``tried``.

    Rows with a column ``n`` come by it, the largest first, and then, as others, by their text.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the run directory cannot be read.
    """
    asked = ", ".join(
        f"(SELECT list(question) FROM ({sql}) AS question) AS {name}"
        for name, sql in questions.items()
    )
    (found,) = query(run, f"WITH {_SHARED} SELECT {asked}").to_pylist()
    return {name: sorted(rows or [], key=_order) for name, rows in found.items()}


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    values = [value for name, value in row.items() if name != "n"]
    return (-row.get("n", 0), *((value is None, str(value)) for value in values))
