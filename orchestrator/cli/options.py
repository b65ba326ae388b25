"""Options that several commands have, and the sweep and the job settings that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from jobs import datasets
from orchestrator import sweep as sweeps
from orchestrator.engine import Sink, network_errors, refuse_missing
from orchestrator.slurm.profile import JobSettings
from orchestrator.sweep import Sweep

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The sweep file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE …]", help="Values that override those of the file.", show_default=False
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", help="The run directory; runs/NAME unless given.", show_default=False
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Log = Annotated[
    list[Sink] | None,
    typer.Option(
        "--log",
        help="Also log trials live to this; may be repeated.",
        show_default=False,
    ),
]
Cluster = Annotated[
    Path | None,
    typer.Option("--cluster", help="The cluster profile (YAML).", show_default=False),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", min=1, help="How many SLURM jobs are to work on the run."),
]
PreflightWait = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long to wait for free nodes, which are checked before jobs are submitted; with 0 "
        "each job checks its own.",
    ),
]


def logging_to(sinks: Sequence[Sink] | None, settings: JobSettings | None) -> JobSettings:
    """The settings of a run or a job that logs to these sinks, too.

    Raises:
        MissingPackageError: the package of one is not installed.
    """
    refuse_missing(sinks or ())
    return replace(settings or JobSettings(), log=tuple(str(sink) for sink in sinks or ()))


def default_run(sweep: Sweep) -> Path:
    """The run directory of a sweep, unless the user names one."""
    return Path("runs") / sweep.name


def load_checked(config: Path, overrides: Sequence[str] | None) -> Sweep:
    """The sweep of a file with overrides on top, whose datasets and networks are there.

    Raises:
        SweepError: the file or an override is wrong.
        DatasetError: a dataset is not there.
        NetworkError, SpecError: a network cannot be made.
    """
    return checked(sweeps.load(config, overrides or ()))


def checked(sweep: Sweep, *, unseen: bool = False) -> Sweep:
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
