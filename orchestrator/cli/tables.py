"""``eos query``, ``eos analyze``, ``eos report``, ``eos compact``: what to do with the tables."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.analysis import analyze as analyze_run
from orchestrator.cli.errors import UserError
from orchestrator.cli.output import print_json, print_table, stderr
from orchestrator.cli.run import Json, RunArgument
from orchestrator.ledger.status import no_run
from orchestrator.store import compact as compact_run
from orchestrator.store import describe, render, save, write_bytes_whole
from orchestrator.store import query as query_run


class Format(StrEnum):
    """How a result is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def query(
    run: RunArgument,
    sql: Annotated[
        str | None,
        typer.Argument(metavar="[SQL]", help="Over trials, trajectories, attempts and phase."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the result.")] = Format.table,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A file instead of stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask the tables with SQL (DuckDB); without SQL, list the views and their columns.

    Example: eos query runs/quickstart "SELECT eta_over_eta_c, sharpness FROM trials ORDER BY eta"
    """
    _must_exist(run)
    wanted = Format.json if json else format
    if sql is None:
        rows = [{"view": v, "column": c, "type": t} for v, c, t in describe(run)]
        print_json(rows) if wanted is Format.json else print_table(rows, ["view", "column", "type"])
        return
    result = query_run(run, sql)
    if wanted is Format.table and output is None:
        print_table(result.to_pylist(), result.column_names)
    elif wanted is Format.parquet or wanted is Format.table:
        if output is None:
            raise UserError("--format is parquet; it must come with -o FILE")
        save(result, output)
    else:
        text = render(result, "csv" if wanted is Format.csv else "json")
        if output is None:
            print(text, end="")
        else:
            write_bytes_whole(output, text.encode())
    if output is not None:
        stderr.print(f"{result.num_rows} rows in {output}", highlight=False)


def analyze(run: RunArgument, json: Json = False) -> None:
    """Compute the phase transition of every column into analysis/phase.parquet.

    Example: eos analyze runs/quickstart
    """
    _must_exist(run)
    rows = [dataclasses.asdict(row) for row in analyze_run(run)]
    if json:
        print_json(rows)
        return
    print_table(
        rows,
        [
            "column_id",
            "epsilon",
            "eta_c",
            "eta_c_fitted",
            "edge_exponent",
            "edge_ratio",
            "flat_spread",
            "l1_flow",
            "l1_slope",
            "eta_best_over_eta_c",
            "u_shaped",
            "n_gd",
            "n_diverged",
        ],
    )


def report(run: RunArgument) -> None:
    """Draw the figures of a run, from its tables alone, into report/.

    Example: eos report runs/quickstart
    """
    from orchestrator.report import draw_transition

    _must_exist(run)
    for path in draw_transition(run):
        print(path)


def compact(run: RunArgument, json: Json = False) -> None:
    """Merge the many small files of a run's tables into a few large ones; safe at any moment.

    Example: eos compact runs/quickstart
    """
    _must_exist(run)
    done = compact_run(run)
    if json:
        print_json(dataclasses.asdict(done))
    elif done.busy:
        print("another process is compacting this run; nothing was done")
    else:
        print(f"{done.merged} files merged into {len(done.written)}")


COMMANDS = {"query": query, "analyze": analyze, "report": report, "compact": compact}


def _must_exist(run: Path) -> None:
    if not (run / "trials").is_dir():
        raise no_run(run)
