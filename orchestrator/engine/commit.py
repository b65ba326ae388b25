"""Putting finished trials into the tables: each part file whole, in an order that kills survive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.engine.rows import Finished, measure_rows, trajectory_rows, trial_rows
from orchestrator.engine.work import Provenance, checkpoint_path
from orchestrator.ledger import Row, attempt_row, part_name, settled_trials_of_rows, unmark
from orchestrator.plan import SettledTrials
from orchestrator.store import write_part


def commit(run: Path, finished: Sequence[Finished], provenance: Provenance) -> SettledTrials:
    """Write the rows of finished trials, one part file a table, and clear up after them.

    ``measures`` gets no file where nothing was asked for. ``trials`` is written after it and
    ``trajectories``: a trial counts as settled when its rows are there, and then nothing of it is
    missing. The attempts come last; what a kill leaves out of them, the marks still tell.
    """
    by_trial = {item.assignment.trial.trial_id: trial_rows(item, provenance) for item in finished}
    name = part_name(
        [(item.assignment.trial.trial_id, item.assignment.attempt) for item in finished]
    )
    write_part(run, "trajectories", name, [row for f in finished for row in trajectory_rows(f)])
    measured = [row for f in finished for row in measure_rows(f)]
    if measured:
        write_part(run, "measures", name, measured)
    write_part(run, "trials", name, [row for rows in by_trial.values() for row in rows])
    write_part(run, "attempts", name, [_settled_row(by_trial[t][0], provenance) for t in by_trial])
    for item in finished:
        unmark(run, item.assignment.trial.trial_id)
        checkpoint_path(run, item.assignment.trial).unlink(missing_ok=True)
    return settled_trials_of_rows([row for rows in by_trial.values() for row in rows])


def _settled_row(row: Row, provenance: Provenance) -> Row:
    return attempt_row(
        row["trial_id"],
        row["column_id"],
        row["attempt"],
        "settled",
        hostname=row["hostname"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        slurm_job_id=row["slurm_job_id"],
        restart_count=provenance.restart_count,
    )
