"""``eos verify``: whether this hardware gives the numbers that are known from elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestrator.cli.errors import ERROR, SETTLED
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

    checks = []
    for check in golden_checks(device):
        verdict = "right" if check.holds else "WRONG"
        stderr.print(f"{verdict}  {check.check}", markup=False, highlight=False)
        checks.append(check)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [{**asdict(one), "verdict": "right" if one.holds else "WRONG"} for one in checks]
        print_table(rows, ["check", "expected", "found", "verdict"])
    raise typer.Exit(SETTLED if all(check.holds for check in checks) else ERROR)


COMMANDS = {"verify": verify}
