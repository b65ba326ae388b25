"""``eos verify``: whether this hardware gives the numbers that are known from elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestrator.cli.errors import ERROR, SETTLED, UserError
from orchestrator.cli.output import print_json, print_table, stderr
from orchestrator.cli.run import Json


def verify(
    device: Annotated[
        str, typer.Option(help="Where to compute: cpu, cuda or cuda:N.", metavar="DEVICE")
    ] = "cpu",
    json: Json = False,
) -> None:
    """Run the golden science checks on this hardware; exit status 1 if a number is wrong.

    Example: eos verify --device cuda
    """
    from jobs.golden import golden_checks
    from jobs.problem import PlacementError

    checks = []
    try:
        for check in golden_checks(device):
            stderr.print(f"{_verdict(check.holds)}  {check.check}", markup=False, highlight=False)
            checks.append(check)
    except PlacementError as error:
        raise UserError(str(error)) from None
    if json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [{**asdict(one), "verdict": _verdict(one.holds)} for one in checks]
        print_table(rows, ["check", "expected", "found", "verdict"])
    raise typer.Exit(SETTLED if all(check.holds for check in checks) else ERROR)


def _verdict(holds: bool) -> str:
    return "right" if holds else "WRONG"


COMMANDS = {"verify": verify}
