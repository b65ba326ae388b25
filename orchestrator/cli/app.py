"""The commands of ``eos``, put together; every error is one sentence and an exit status."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from orchestrator.cli import (
    data,
    doctor,
    failures,
    first_steps,
    launch,
    plan,
    predict,
    run,
    status,
    tables,
    verify,
    watch,
)
from orchestrator.cli.errors import exit_status, sentence
from orchestrator.cli.output import stderr
from orchestrator.cluster import end_process

app = typer.Typer(
    name="eos",
    help="Sweeps of full-batch gradient descent over learning rates, around the edge of stability.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    first_steps,
    plan,
    predict,
    run,
    launch,
    status,
    failures,
    watch,
    tables,
    doctor,
    verify,
):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)
app.add_typer(data.group, name="data")


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        import importlib.metadata

        typer.echo(importlib.metadata.version("eos-sweep"))
        raise typer.Exit(0)


def main() -> None:
    """Run the command line. ``--debug``, anywhere on it, shows tracebacks and Ray's messages."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments, prog_name="eos", obj=debug)
    except SystemExit as end:
        end_process(end.code if isinstance(end.code, int) else int(end.code is not None))
    except Exception as error:
        if debug:
            traceback.print_exc()
        stderr.print(f"eos: {sentence(error)}", style="red", markup=False, highlight=False)
        end_process(exit_status(error))
