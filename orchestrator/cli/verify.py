"""``eos verify``: whether the numbers that are known from elsewhere come out here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs import datasets
from orchestrator.analysis.claims import CLAIMS, ClaimVerdict, undecided
from orchestrator.analysis.paper_tables import PaperTables
from orchestrator.cli.errors import ERROR, INTERRUPTED, SETTLED, UserError
from orchestrator.cli.execution import carry_out
from orchestrator.cli.options import Json
from orchestrator.cli.output import print_json, print_table, stderr
from orchestrator.sweep import Sweep, load

SMALL = Path("configs/paper/small")
RUN = Path("runs/paper-small")


def verify(
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: cpu, cuda or cuda:N.", metavar="DEVICE", show_default="cpu"
        ),
    ] = None,
    paper_small: Annotated[
        bool,
        typer.Option(
            "--paper-small",
            help="Instead, run the paper's experiments in a size for two cores (up to two hours), "
            "and say which of its claims appear.",
        ),
    ] = False,
    configs: Annotated[
        Path | None,
        typer.Option(
            help="Where the sweep files of --paper-small lie.",
            metavar="FOLDER",
            show_default=str(SMALL),
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir", help="The run directory of --paper-small.", show_default=str(RUN)
        ),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            help="With --paper-small: judge the tables that are kept there, and run nothing.",
            metavar="FOLDER",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check known results on this hardware.

    The exit status is 1 if a number is wrong.

    With --paper-small, run the experiments and judge the claims: not all of them need appear at
    this size, so that the exit status says only whether everything was computed.

    Example: eos verify --device cuda
    """
    if paper_small:
        if device is not None:
            raise UserError(
                f"--device is {device!r}; with --paper-small leave it out: the resources of its "
                "sweep files say where to compute"
            )
        if kept is None:
            raise typer.Exit(_paper(configs or SMALL, run_dir or RUN, json=json))
        for option, value in (("--configs", configs), ("--run-dir", run_dir)):
            if value is not None:
                raise UserError(
                    f"{option} is {str(value)!r}; with --kept nothing is run: leave one of them out"
                )
        raise typer.Exit(_kept(kept, json=json))
    for option, value in (("--configs", configs), ("--run-dir", run_dir), ("--kept", kept)):
        if value is not None:
            raise UserError(
                f"{option} is {str(value)!r}; without --paper-small nothing is read from there or "
                "written there: leave it out, or add --paper-small"
            )
    raise typer.Exit(_golden(device or "cpu", json=json))


def _golden(device: str, *, json: bool) -> int:
    from jobs.golden import golden_checks

    checks = []
    for check in golden_checks(device):
        stderr.print(f"{_right(check.holds)}  {check.check}", markup=False, highlight=False)
        checks.append(check)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [{**asdict(one), "verdict": _right(one.holds)} for one in checks]
        print_table(rows, ["check", "expected", "found", "verdict"])
    return SETTLED if all(check.holds for check in checks) else ERROR


def _right(holds: bool) -> str:
    return "right" if holds else "WRONG"


def _paper(configs: Path, run: Path, *, json: bool) -> int:
    """Run what there is data for, then judge every experiment."""
    sweeps = {name: load(path) for name, path in _experiments(configs).items()}
    missing = {name: problem for name, sweep in sweeps.items() if (problem := _missing(sweep))}
    here = {name: sweep for name, sweep in sweeps.items() if name not in missing}
    status, found = SETTLED, [one for name, why in missing.items() for one in undecided(name, why)]
    if here:
        grids = dict.fromkeys(grid for sweep in here.values() for grid in sweep.grids)
        with contextlib.redirect_stdout(sys.stderr):  # what follows is the answer
            status = carry_out(run, Sweep(name="paper-small", grids=tuple(grids)))
        if status == INTERRUPTED:
            return status
        judged = PaperTables.of_run(run, here).verdicts()
        found += [one for one in judged if one.experiment in here]
    _print_verdicts(sorted(found, key=lambda one: one.experiment), json=json)
    return status


def _kept(folder: Path, *, json: bool) -> int:
    """Judge tables that were kept."""
    try:
        tables = PaperTables.kept(folder)
    except FileNotFoundError as error:
        raise UserError(
            f"--kept is {str(folder)!r}; {error.filename or error} is not there: it must be "
            "a folder of kept tables, such as docs/paper-small in a clone of the repository"
        ) from error
    _print_verdicts(list(tables.verdicts()), json=json)
    return SETTLED


def _print_verdicts(verdicts: Sequence[ClaimVerdict], *, json: bool) -> None:
    rows = [asdict(verdict) for verdict in verdicts]
    if json:
        print_json(rows)
    else:
        print_table(rows, ["experiment", "claim", "verdict", "numbers"])


def _experiments(configs: Path) -> dict[str, Path]:
    """The sweep file of each experiment that has claims, by the beginning of its name."""
    found: dict[str, Path] = {}
    for path in sorted(configs.glob("e*.yaml")):
        name = path.name[:3]
        if name in found:
            raise UserError(
                f"--configs is {str(configs)!r}; {found[name].name} and {path.name} there are both "
                f"{name}: each experiment must have one file"
            )
        if name in CLAIMS:
            found[name] = path
    if not found:
        raise UserError(
            f"--configs is {str(configs)!r}; it must be a folder with the paper's experiments, "
            f"such as {SMALL} in a clone of the repository"
        )
    return found


def _missing(sweep: Sweep) -> str | None:
    """What data a sweep lacks here."""
    problem = next(datasets.errors_of(column.problem for column in sweep.columns), None)
    return None if problem is None else str(problem)


COMMANDS = {"verify": verify}
