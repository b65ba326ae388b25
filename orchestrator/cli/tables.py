"""``eos query``, ``analyze``, ``report``, ``export`` and ``compact``: commands on the tables."""

from __future__ import annotations

import dataclasses
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.analysis import analyze as analyze_run
from orchestrator.cli.errors import UserError
from orchestrator.cli.options import Json, RunArgument
from orchestrator.cli.output import MOST_ROWS, command, note, print_json, print_table
from orchestrator.cli.results import print_phases
from orchestrator.reading import TABLES, check_export
from orchestrator.reading import Format as ExportFormat
from orchestrator.reading import export as export_tables
from orchestrator.run_directory import has_sweep, refuse_no_tables, sweep_of
from orchestrator.store import ANALYSIS, describe, examples, render, save, write_bytes_whole
from orchestrator.store import compact as compact_run
from orchestrator.store import query as query_run
from orchestrator.store.files import is_writable
from orchestrator.sweep.labels import column_labels


class Format(StrEnum):
    """How a result is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def query(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="The run directory.", show_default=False)
    ] = None,
    sql: Annotated[
        str | None,
        typer.Argument(
            metavar="[SQL]", help="A query over trials, trajectories, phase, trends and others."
        ),
    ] = None,
    show_examples: Annotated[
        bool, typer.Option("--examples", help="Print example queries and what they answer.")
    ] = False,
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="Run one of the examples.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="The result's format.")] = Format.table,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Query the tables of a run with SQL (DuckDB).

    Without SQL, list the views and their columns.

    Example: eos query runs/quickstart "SELECT eta_over_eta_c, sharpness FROM trials ORDER BY eta"
    """
    wanted = Format.json if json else format
    if show_examples:
        _print_examples(as_json=wanted is Format.json)
        return
    if run is None:
        raise UserError("RUN is missing; it must be a run directory, as runs/quickstart")
    refuse_no_tables(run)
    if example is not None:
        sql = _example(example, sql)
        _hint_at_analysis(run, sql)
    if sql is None:
        rows = [{"view": v, "column": c, "type": t} for v, c, t in describe(run)]
        print_json(rows) if wanted is Format.json else print_table(rows, ["view", "column", "type"])
        return
    result = query_run(run, sql)
    if wanted is Format.table and output is None:
        print_table(
            result.slice(0, MOST_ROWS).to_pylist(),
            result.column_names,
            total=len(result),
            all_have="--format csv, json or parquet has all, LIMIT fewer",
        )
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
        note(f"{result.num_rows} rows in {output}")


def _print_examples(*, as_json: bool) -> None:
    """All examples as text that is SQL, or as JSON."""
    found = examples()
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    print("\n\n".join(f"-- {one.name}: {one.about}\n{one.sql}" for one in found))


def _example(name: str, sql: str | None) -> str:
    """The SQL of an example that was asked for instead of SQL."""
    if sql is not None:
        raise UserError(f"--example is {name!r} beside SQL; it must be one of the two")
    known = {one.name: one.sql for one in examples()}
    if name not in known:
        raise UserError(f"--example is {name!r}; it must be one of {', '.join(known)}")
    return known[name]


def _hint_at_analysis(run: Path, sql: str) -> None:
    """Say which command makes the tables that an example reads and the run lacks."""
    missing = [
        name
        for name in ANALYSIS
        if re.search(rf"\b(FROM|JOIN) {name}\b", sql)
        and not (run / "analysis" / f"{name}.parquet").is_file()
    ]
    if missing:
        note(f"{', '.join(missing)} do not exist yet; make them with {command('analyze', run)}")


def analyze(run: RunArgument, json: Json = False) -> None:
    """Fit the phase transition of every column.

    Also judges statements across columns. The results are tables in RUN/analysis.

    Example: eos analyze runs/quickstart
    """
    refuse_no_tables(run)
    phases = analyze_run(run).phases
    if json:
        print_json([dataclasses.asdict(row) for row in phases])
        return
    labels = column_labels(sweep_of(run).columns) if has_sweep(run) else {}
    print_phases(labels, phases)


def report(
    run: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A folder to use instead of RUN/report."),
    ] = None,
    figures: Annotated[
        list[str] | None, typer.Option("--figures", help="Draw only this figure; may be repeated.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write PDF as well, for LaTeX.")] = False,
    json: Json = False,
) -> None:
    """Draw the figures of a run and write a page of it.

    Everything is made from the tables alone, and written to RUN/report.

    Example: eos report runs/quickstart --figures transition --figures trajectories
    """
    # Matplotlib takes a second to import, which the other commands do not need.
    from orchestrator.report import FIGURES, FORMATS, figures_of, save
    from orchestrator.report.page import PAGE_TEXTS, write_page

    refuse_no_tables(run)
    for name in figures or ():
        if name not in FIGURES:
            raise UserError(f"--figures is {name!r}; it must be one of {', '.join(FIGURES)}")
    folder, formats = output or run / "report", (*FORMATS, *(["pdf"] if pdf else []))
    if not is_writable(folder):
        raise UserError(
            f"{str(folder)!r} cannot be written to; --output FOLDER must name a place that can"
        )
    rows = []
    for drawn in figures_of(run, names=figures, warn=note):
        paths = save(drawn, folder, formats)
        rows.append({**drawn.texts(), "files": paths})
        if not json:
            print(*paths, sep="\n", flush=True)
    page = write_page(run, folder, rows)
    if json:
        print_json([*rows, {**PAGE_TEXTS, "files": [page]}])
    else:
        print(page)


def compact(run: RunArgument, json: Json = False) -> None:
    """Merge the small files of the tables of a run.

    Safe at any time, also while the run goes on.

    Example: eos compact runs/quickstart
    """
    refuse_no_tables(run)
    done = compact_run(run)
    if json:
        print_json(dataclasses.asdict(done))
    elif done.busy:
        print("another process is compacting this run; nothing was done")
    else:
        print(f"{done.merged} files merged into {len(done.written)}")


def export(
    run: RunArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.", show_default=False)
    ],
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE …]", help="All tables unless given.", show_default=False),
    ] = None,
    format: Annotated[
        ExportFormat, typer.Option("--format", help="The format of the files.")
    ] = ExportFormat.csv,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    json: Json = False,
) -> None:
    """Write tables to a folder, as CSV or Parquet.

    Each table becomes one file. CSV files have a header.

    Example: eos export runs/quickstart trials phase --output tables
    """
    refuse_no_tables(run)
    wanted = list(dict.fromkeys(tables or TABLES))
    check_export(output, wanted, format, force=force)
    rows = []
    for done in export_tables(run, wanted, output, format):
        rows.append({"table": done.table, "file": done.path, "rows": done.rows})
        if not json:
            print(f"{done.path}: {done.rows} rows", flush=True)
    if json:
        print_json(rows)


COMMANDS = {
    "query": query,
    "analyze": analyze,
    "report": report,
    "export": export,
    "compact": compact,
}
