"""``eos export``: the tables of a run as files that any program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.output import print_json
from orchestrator.cli.run import Json, RunArgument
from orchestrator.reading import TABLES, Format, refuse_unfit
from orchestrator.reading import export as export_tables
from orchestrator.run_directory import refuse_no_tables


def export(
    run: RunArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.", show_default=False)
    ],
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE …]", help="All tables unless given.", show_default=False),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of files.")] = Format.csv,
    force: Annotated[bool, typer.Option("--force", help="Replace files of these names.")] = False,
    json: Json = False,
) -> None:
    """Write tables to a folder, as CSV or Parquet.

    Each is one file. CSV has a header.

    Example: eos export runs/quickstart trials phase --output tables
    """
    refuse_no_tables(run)
    wanted = list(dict.fromkeys(tables or TABLES))
    refuse_unfit(output, wanted, format, force=force)
    rows = []
    for done in export_tables(run, wanted, output, format):
        rows.append({"table": done.table, "file": done.path, "rows": done.rows})
        if not json:
            print(f"{done.path}: {done.rows} rows", flush=True)
    if json:
        print_json(rows)


COMMANDS = {"export": export}
