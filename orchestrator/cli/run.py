"""``eos plan``, ``eos run`` and ``eos resume``: from a sweep file to its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from jobs import datasets
from orchestrator import sweep as sweeps
from orchestrator.cli.errors import UserError
from orchestrator.cli.execution import carry_out
from orchestrator.cli.output import command, duration, print_json, print_table, stderr
from orchestrator.cli.submission import Cluster, Jobs, PreflightWait, submit_jobs
from orchestrator.cluster import here as allocation
from orchestrator.engine import (
    Sink,
    network_errors,
    refuse_missing,
    refuse_unfit_directory,
    timed_for,
)
from orchestrator.ledger import Ledger, rearm
from orchestrator.ledger.labels import column_labels
from orchestrator.ledger.status import describe_trials
from orchestrator.ledger.timed import read_timed
from orchestrator.plan import Counts, Prediction, RunState, predict
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.preflight import WAIT_SECONDS
from orchestrator.slurm.profile import load_profile
from orchestrator.slurm.records import has_jobs
from orchestrator.slurm.terms import Terms
from orchestrator.store import select_rows
from orchestrator.sweep import Sweep

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The sweep file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE …]", help="Values in place of the file's.", show_default=False
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", help="The run directory; runs/NAME unless given.", show_default=False
    ),
]
Log = Annotated[
    list[Sink] | None,
    typer.Option(
        "--log",
        help="Log trials live to this, too; may be repeated. By default to nothing.",
        show_default=False,
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

MOST_COLUMNS_SHOWN = 30

TABLES = 3
"""In which every settled trial has rows: ``trials``, ``trajectories`` and ``attempts``."""


def plan(
    config: Config, overrides: Overrides = None, run_dir: RunOption = None, json: Json = False
) -> None:
    """Show the trials of a sweep and what they will cost.

    Nothing is run, and nothing is written.

    Example: eos plan configs/quickstart.yaml problem.width=[64,128]
    """
    sweep = _checked(sweeps.load(config, overrides or ()), unseen=True)
    run = run_dir or Path("runs") / sweep.name
    refuse_unfit_directory(run, sweep)
    state = Ledger(run).read(sweep.columns) if run.is_dir() else RunState.of(sweep.columns)
    refused = _refused(sweep)
    sound = np.array([column.column_id not in refused for column in sweep.columns])
    cost, timed = _predicted(run, state, sound)
    rows = _planned(state, cost, refused)
    total = _numbers(state.total)
    gradients, hours = float(cost.gradients.sum()), float(cost.seconds.sum()) / 3600
    files = sum(row["files"] for row in rows)
    _warn(dict.fromkeys(refused.values()))
    if json:
        print_json(
            {
                "run": str(run),
                "columns": rows,
                **total,
                "older": state.older,
                "gradients": gradients,
                "device_hours": hours,
                "files": files,
                "prior": bool(cost.guess.any()),
                "timed": bool(cost.timed.all()),
            }
        )
        return
    keys = ["column", "trials", "settled", "failed", "to do", "gradients", "device hours"]
    shown = [
        {**row, "gradients": None if row["gradients"] is None else f"{row['gradients']:.2g}"}
        for row in rows[:MOST_COLUMNS_SHOWN]
    ]
    print_table(shown, keys)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more columns")
    print(
        f"{len(rows)} columns, {total['trials']} trials: {total['settled']} settled, "
        f"{total['to do']} to do\n"
        f"predicted: {gradients:.2g} gradient evaluations, {duration(hours * 3600)} of one "
        f"worker{_reservation(state, cost, timed)}\n"
        f"{_left_out(len(refused))}"
        f"files: at most {files} small ones in {run} ({'there' if run.is_dir() else 'new'}); "
        f"{command()} compact merges them"
    )
    if state.older:
        print(of_older_version(state.older))
    _warn_of_missing(sweep)


def run(
    context: typer.Context,
    config: Config,
    overrides: Overrides = None,
    run_dir: RunOption = None,
    cluster: Cluster = None,
    log: Log = None,
    json: Json = False,
) -> None:
    """Run all trials of a sweep that have no result yet.

    Running it again resumes it. In a SLURM job, --cluster says which interface and temp root its
    nodes have, and how it ends.

    Example: eos run configs/quickstart.yaml
    """
    terms = logging_to(log, None if cluster is None else load_profile(cluster).terms)
    sweep = load_checked(config, overrides)
    directory = run_dir or Path("runs") / sweep.name
    raise typer.Exit(carry_out(directory, sweep, terms, json=json, debug=bool(context.obj)))


def resume(
    context: typer.Context,
    run: RunArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Give failed trials another chance.")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(
            help="Of the failed trials, only those: SQL over their fields.", metavar="SQL"
        ),
    ] = None,
    cluster: Cluster = None,
    jobs: Jobs = 1,
    preflight_wait: PreflightWait = WAIT_SECONDS,
    here: Annotated[
        bool,
        typer.Option("--here", help="Compute on this machine, though SLURM jobs did before."),
    ] = False,
    log: Log = None,
    json: Json = False,
) -> None:
    """Run what is missing in a run directory.

    With --failed, failed trials are tried again, too. With --cluster, SLURM jobs run it, as after
    eos launch. Where jobs have worked on it before, it must be one of --cluster and --here, unless
    this is a job itself.

    Example: eos resume runs/quickstart --failed --where "width = 64"
    """
    if cluster is None and jobs != 1:
        raise UserError(f"--jobs is {jobs}; it must come with --cluster FILE")
    if cluster is not None and here:
        raise UserError("--here is given with --cluster; it must be one of them")
    if cluster is None and not here and allocation().job_id is None and has_jobs(run):
        raise UserError(
            f"RUN is {str(run)!r}, on which SLURM jobs have worked; eos resume must have --cluster "
            "FILE to go on with jobs, or --here to compute on this machine"
        )
    profile = None if cluster is None else load_profile(cluster)
    terms = logging_to(log, None if profile is None else profile.terms)
    sweep = _checked(sweep_of(run))
    if failed or where is not None:
        ledger = Ledger(run)
        rows = describe_trials(ledger.store, ledger.read(sweep.columns).failures())
        chosen = rows if where is None else select_rows(rows, where)
        for row in chosen:
            rearm(run, row["trial_id"], row["attempt"])
        stderr.print(f"re-armed {len(chosen)} of {len(rows)} failed trials", highlight=False)
    if cluster is None or profile is None:
        raise typer.Exit(carry_out(run, terms=terms, json=json, debug=bool(context.obj)))
    submit_jobs(run, sweep, profile, cluster.stem, terms, jobs, preflight_wait, json)


COMMANDS = {"plan": plan, "run": run, "resume": resume}


def logging_to(sinks: Sequence[Sink] | None, terms: Terms | None) -> Terms:
    """The terms of a run or a job that logs to these sinks, too.

    Raises:
        MissingPackageError: the package of one is not installed.
    """
    refuse_missing(sinks or ())
    return replace(terms or Terms(), log=tuple(str(sink) for sink in sinks or ()))


def load_checked(config: Path, overrides: Sequence[str] | None) -> Sweep:
    """The sweep of a file with overrides on top, whose datasets and networks are there.

    Raises:
        SweepError: the file or an override is wrong.
        DatasetError: a dataset is not there.
        NetworkError, SpecError: a network cannot be made.
    """
    return _checked(sweeps.load(config, overrides or ()))


def _checked(sweep: Sweep, *, unseen: bool = False) -> Sweep:
    """The sweep, whose datasets and networks are there; ``unseen`` takes that for granted of files
    and networks.

    Raises:
        DatasetError, NetworkError, SpecError: one is not.
    """
    for error in datasets.errors_of((c.problem for c in sweep.columns), unseen=unseen):
        raise error
    for unusable, _ in () if unseen else network_errors(sweep.columns):
        raise unusable
    return sweep


def of_older_version(trials: int) -> str:
    """Why so many trials of a run directory do not count."""
    return (
        f"{trials} settled trials of an older version do not count, because trials have other "
        "names now: their rows stay, and what the sweep asks for is computed again"
    )


def _warn_of_missing(sweep: Sweep) -> None:
    """A plan needs no data; a run does."""
    for name in sorted({column.problem.dataset for column in sweep.columns}):
        try:
            datasets.check_files(name)
        except datasets.DatasetError as error:
            _warn([error])


def _warn(errors: Iterable[object]) -> None:
    for error in errors:
        stderr.print(f"warning: {error}", style="yellow", markup=False, highlight=False)


def _refused(sweep: Sweep) -> dict[str, str]:
    """Why networks cannot be made, by column_id: ``eos run`` refuses these columns."""
    found = network_errors(sweep.columns)
    return {column.column_id: str(error) for error, columns in found for column in columns}


def _predicted(
    run: Path, state: RunState, sound: npt.NDArray[np.bool_]
) -> tuple[Prediction, str | None]:
    """The cost of the sound columns, and where gradients were timed for it."""
    known = read_timed(run)
    timed = timed_for(state, known)
    here = timed.keys() - known.keys()
    where = "on a CPU of this machine" if here else "when a run began" if timed else None
    return predict(state, timed=timed).only(sound), where


def _left_out(refused: int) -> str:
    """A line on columns without a cost, if there are any."""
    if not refused:
        return ""
    return f"not predicted: {refused} columns whose network cannot be made, which eos run refuses\n"


def _reservation(state: RunState, cost: Prediction, timed: str | None) -> str:
    """What a prediction rests on, as long as that is not what was measured."""
    if not cost.guess.any():
        return ""
    said = "a guess until each column's flow has run"
    if timed is not None:
        said += f"; a gradient and a Hessian product were timed {timed}"
    untimed = [state.columns[i].resources for i in np.flatnonzero(~cost.timed)]
    if untimed:
        said += "; what was never timed is taken at the speed of one CPU core"
    if any(resources.gpus_per_worker for resources in untimed):
        said += ", and all but tiny networks take less on a GPU"
    return f" ({said})"


def _planned(state: RunState, cost: Prediction, refused: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each column; without a cost where its network is refused."""
    labels, rows = column_labels(state.columns), []
    for i, its in enumerate(state):
        protocol, refusal = its.column.protocol, refused.get(its.column_id)
        measures = bool(protocol.also or protocol.eigenvalues)  # a table of their own
        predicted = refusal is None
        rows.append(
            {
                "column": labels[its.column_id],
                "column_id": its.column_id,
                **_numbers(its.counts),
                "files": (TABLES + measures) * its.counts.left,
                "gradients": float(cost.gradients[i]) if predicted else None,
                "device hours": float(cost.seconds[i]) / 3600 if predicted else None,
                "guess": bool(cost.guess[i]) if predicted else None,
                "timed": bool(cost.timed[i]) if predicted else None,
                "refused": refusal,
            }
        )
    return rows


def _numbers(trials: Counts) -> dict[str, int]:
    return {
        "trials": trials.wanted,
        "settled": trials.settled,
        "failed": trials.failed,
        "blocked": trials.blocked,
        "to do": trials.left,
    }
