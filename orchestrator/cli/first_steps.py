"""``eos quickstart`` and ``eos init``: a first sweep, and a sweep file of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.errors import UserError
from orchestrator.cli.options import Json, RunOption
from orchestrator.cli.output import command
from orchestrator.cli.run import run
from orchestrator.store import StoreError, write_bytes_whole
from orchestrator.sweep import SweepError, parse
from orchestrator.sweep.yaml_text import to_yaml

SWEEP_FILES = Path(__file__).parents[1] / "sweep_files"
"""They come with the package, so that no clone of the repository is needed."""

NAME = "name: my-sweep\n"
"""The first line of the template, in place of which the file's own name stands."""


def quickstart(context: typer.Context, run_dir: RunOption = None, json: Json = False) -> None:
    """Run a first sweep, which takes a few minutes.

    It trains a small network on 1,000 MNIST images, which come with the packages, at 16 learning
    rates around η_c. The results go to runs/quickstart. Run it again to resume it.

    Example: eos quickstart
    """
    run(context, SWEEP_FILES / "quickstart.yaml", run_dir=run_dir, json=json)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep file to write.")] = Path(
        "sweep.yaml"
    ),
) -> None:
    """Write a sweep file to edit, in which every key is explained.

    The sweep has the name of the file. A file that exists is not replaced.

    Example: eos init widths.yaml
    """
    if os.path.lexists(file):
        raise UserError(
            f"FILE is {str(file)!r}, which exists and is not replaced; it must be a new file"
        )
    template = (SWEEP_FILES / "template.yaml").read_text(encoding="utf-8")
    text = template.replace(NAME, to_yaml({"name": file.stem}), 1)
    try:
        parse(text)
    except SweepError as error:
        raise UserError(
            f"FILE is {str(file)!r}, and the sweep is named after it: {error}"
        ) from None
    try:
        write_bytes_whole(file, text.encode())
    except StoreError as error:
        raise UserError(
            f"FILE is {str(file)!r}; it must be a new file in a folder that can be written to "
            f"({error})"
        ) from None
    print(f"{file} is written; edit it, then")
    print(f"  {command('plan', file)}\n  {command('run', file)}")


COMMANDS = {"quickstart": quickstart, "init": init}
