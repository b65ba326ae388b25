"""``eos data``: which datasets there are, getting them, and checking their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from jobs import datasets
from jobs.datasets import DatasetError
from jobs.spec.dataset_name import EXAMPLES, DatasetName
from orchestrator import data
from orchestrator.cli.errors import ERROR, SETTLED, UserError
from orchestrator.cli.options import Json
from orchestrator.cli.output import print_json, print_table, stderr
from orchestrator.data.fetch import Watch
from orchestrator.data.own_files import own_file, read_own

group = typer.Typer(
    help="List, fetch and check datasets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FETCHED = Annotated[
    list[str],
    typer.Argument(metavar="NAME…", help=f"Any of {', '.join(data.OFFICIAL)}.", show_default=False),
]
CHECKED = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME…]",
        help="Datasets, or files with data of your own; by default all that have files here.",
        show_default=False,
    ),
]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="A web folder with the official files, which is tried before their official URLs.",
        show_default=False,
    ),
]


@group.command("list")
def list_datasets(json: Json = False) -> None:
    """List the datasets, and which files are there.

    Shows the number of samples of each, and where it comes from.

    Example: eos data list
    """
    rows = [_row(EXAMPLES.get(base, base)) for base in datasets.SOURCES]
    if json:
        print_json(rows)
        return
    shown = [{**row, "input": "×".join(map(str, row["input"]))} for row in rows]
    print_table(shown, [column for column in shown[0] if column != "problem"])


@group.command()
def fetch(names: FETCHED, mirror: Mirror = None, json: Json = False) -> None:
    """Download the official files of datasets.

    They go to the data folder: $EOS_DATA, else ~/.cache/eos-sweep/data. Existing files are checked
    and kept; interrupted downloads are resumed. The environment variables https_proxy and
    http_proxy name proxies.

    Example: eos data fetch mnist cifar10
    """
    for name in names:
        _refuse_unknown(name, list(data.OFFICIAL))
    if mirror is not None and not mirror.startswith(("http://", "https://")):
        raise UserError(f"--mirror is {mirror!r}; it must begin with http:// or https://")
    root, fetched = datasets.data_root(), []
    for name in dict.fromkeys(names):
        with _progress() as watch:
            fetched.append(data.fetch(name, root, mirror, watch))
    rows = [asdict(each) for each in fetched]
    if json:
        print_json(rows)
    else:
        print_table(rows, ["dataset", "where", "downloaded"])


@group.command()
def check(names: CHECKED = None, json: Json = False) -> None:
    """Check the files of datasets, official ones or your own.

    Official files are compared with their checksums. The exit status is 1 if a file is wrong. Where
    no checksum is known offline, the column "checked" says what was checked instead. A file of your
    own is named as in a sweep file.

    Example: eos data check mnist 'table.parquet(inputs=[a, b], target=y)'
    """
    if own_names := [name for name in names or () if own_file(name)]:
        if names != own_names:
            raise UserError(
                f"NAME is {own_names[0]!r} beside official datasets; check each kind by itself"
            )
        _check_own(own_names, json=json)
        return
    root = datasets.data_root()
    of_files = [base for base in datasets.SOURCES if base not in EXAMPLES]
    for name in names or ():
        _refuse_unknown(name, of_files)
    with datasets.reading(", ".join(names or of_files)):
        chosen = names or [base for base in of_files if data.anything_there(base, root)]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(chosen):
        with datasets.reading(name):
            rows += [asdict(file) for file in data.check(name, root)]
    if json:
        print_json(rows)
    else:
        shown = [{**row, "problem": row["problem"] or "fine"} for row in rows]
        print_table(shown, ["dataset", "file", "bytes", "checked", "problem"])
    raise typer.Exit(ERROR if any(row["problem"] for row in rows) else SETTLED)


def _check_own(names: list[str], *, json: bool) -> None:
    """Say what is in files of the user."""
    rows: list[dict[str, Any]] = []
    for name in names:
        file = own_file(name)
        assert file is not None
        arrays = read_own(file, Path(file.file))
        shape, labels = arrays.shape, "numbers"
        if shape.kind == "classes":
            counts = np.bincount(arrays.y_train)
            labels = f"{shape.outputs} classes of {counts.min()} to {counts.max()}"
        elif shape.kind == "signs":
            labels = "numbers, each 1 or -1"
        rows.append(
            {
                "dataset": str(DatasetName(file.base, {"digest": arrays.digest})),
                "training": len(arrays.x_train),
                "test": len(arrays.x_test),
                "input": list(shape.input),
                "outputs": shape.outputs,
                "labels": labels,
            }
        )
    if json:
        print_json(rows)
    else:
        shown = [{**row, "input": "×".join(map(str, row["input"]))} for row in rows]
        print_table(shown, list(shown[0]))


def _row(name: str) -> dict[str, Any]:
    source = datasets.find(name)
    problem = None
    try:
        datasets.check_files(name)
    except DatasetError as error:
        problem = str(error)
    drawn = name.partition("(")[0] in ("regression", "classification")
    return {
        "dataset": name,
        "training": None if drawn else source.pool,
        "test": source.tested,
        "input": list(source.shape.input),
        "outputs": source.shape.outputs,
        "where": source.where,
        "there": problem is None,
        "problem": problem,
    }


def _refuse_unknown(name: str, known: list[str]) -> None:
    if name not in known:
        raise UserError(f"NAME is {name!r}; it must be one of {', '.join(known)}")


@contextmanager
def _progress() -> Iterator[Watch]:
    """A bar for each file in a terminal; a line for each elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=stderr) as display:
        tasks: dict[str, Any] = {}

        def watch(name: str, done: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = display.add_task(name, total=size)
            display.update(tasks[name], completed=done)

        yield watch
