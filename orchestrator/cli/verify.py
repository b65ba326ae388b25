"""``eos verify``: whether the numbers that are known from elsewhere come out here."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs import datasets
from orchestrator.claims import CLAIMS, Evidence, Verdict, gather, judge
from orchestrator.cli.errors import ERROR, INTERRUPTED, SETTLED, UserError
from orchestrator.cli.execution import carry_out
from orchestrator.cli.output import print_json, print_table, stderr
from orchestrator.cli.run import Json
from orchestrator.sweep import Sweep, load

SMALL = Path("configs/paper/small")


def verify(
    device: Annotated[
        str, typer.Option(help="Where to compute: cpu, cuda or cuda:N.", metavar="DEVICE")
    ] = "cpu",
    paper_small: Annotated[
        bool,
        typer.Option(
            "--paper-small",
            help="Instead, run the paper's experiments in a size for two cores (up to two hours), "
            "and say which of its claims appear.",
        ),
    ] = False,
    configs: Annotated[
        Path, typer.Option(help="Where the sweep files of --paper-small lie.", metavar="FOLDER")
    ] = SMALL,
    run_dir: Annotated[
        Path, typer.Option("--run-dir", help="The run directory of --paper-small.")
    ] = Path("runs/paper-small"),
    json: Json = False,
) -> None:
    """Run the golden science checks on this hardware; exit status 1 if a number is wrong.

    With --paper-small, run the experiments and judge the claims: not all of them need appear at
    this size, so that the exit status says only whether everything was computed.

    Example: eos verify --device cuda
    """
    if paper_small:
        raise typer.Exit(_paper(configs, run_dir, json=json))
    raise typer.Exit(_golden(device, json=json))


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
    paths = sorted(path for path in configs.glob("e*.yaml") if path.name[:3] in CLAIMS)
    if not paths:
        raise UserError(
            f"--configs is {str(configs)!r}; it must be a folder with the paper's experiments, "
            f"such as {SMALL} in a clone of the repository"
        )
    sweeps = {path.name[:3]: load(path) for path in paths}
    missing = {name: problem for name, sweep in sweeps.items() if (problem := _missing(sweep))}
    here = {name: sweep for name, sweep in sweeps.items() if name not in missing}
    status, evidence = SETTLED, Evidence(())
    if here:
        grids = dict.fromkeys(grid for sweep in here.values() for grid in sweep.grids)
        with contextlib.redirect_stdout(sys.stderr):  # what follows is the answer
            status = carry_out(run, sweep := Sweep(name="paper-small", grids=tuple(grids)))
        if status == INTERRUPTED:
            return status
        evidence = gather(run, sweep)
    verdicts = [
        verdict
        for name in sweeps
        for verdict in (
            [Verdict(name, claim.sentence, None, missing[name]) for claim in CLAIMS[name]]
            if name in missing
            else judge(name, evidence.about(sweeps[name]))
        )
    ]
    if json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        words = {True: "holds", False: "does not hold", None: "undecided"}
        rows = [{**asdict(verdict), "verdict": words[verdict.holds]} for verdict in verdicts]
        print_table(rows, ["experiment", "claim", "verdict", "numbers"])
    return status


def _missing(sweep: Sweep) -> str | None:
    """What data a sweep lacks here."""
    problem = next(datasets.errors_of(column.problem for column in sweep.columns), None)
    return None if problem is None else str(problem)


COMMANDS = {"verify": verify}
