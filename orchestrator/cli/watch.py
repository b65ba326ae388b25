"""``eos watch``: what a run does, drawn again and again until the user ends it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.cli.errors import UserError, sentence
from orchestrator.cli.options import RunArgument
from orchestrator.cli.output import note, plain, print_json, stderr
from orchestrator.cli.watch_display import draw
from orchestrator.watch import Jobs, View, Watcher

LEAST_SECONDS = 0.5

UNKNOWN_WIDTH = 100
"""Of frames that go to a file or a pipe."""

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that would end the process where it stands, and leave the terminal as it is."""


def watch(
    run: RunArgument,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", help="Seconds between two updates.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show one frame, and end.")] = False,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when nothing is left to do.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one frame as JSON, and end.")] = False,
) -> None:
    """Watch a run live: columns, trials, failures, SLURM jobs.

    Shows S·η/2 of each running trial at its last points. Changes nothing.

    Example: eos watch runs/quickstart
    """
    if not every >= LEAST_SECONDS:
        raise UserError(f"--every is {every:g}; it must be at least {LEAST_SECONDS:g} seconds")
    try:
        with _orderly_end():
            watcher = _begin(run)
            try:
                if json:
                    print_json(_as_json(watcher.view(wait=True)))
                elif once:
                    _print_frame(watcher.view(wait=True), str(run))
                elif sys.stdout.isatty() and not Console().is_dumb_terminal:
                    _display(watcher, str(run), every, until_done)
                else:
                    _print_changes(watcher, str(run), every, until_done)
            finally:
                watcher.close()
    except KeyboardInterrupt:
        return


COMMANDS = {"watch": watch}


def _begin(run: Path) -> Watcher:
    """The first reading takes a while where there are many files, and a terminal then says so."""
    if not stderr.is_terminal:
        return Watcher(run)
    with stderr.status(Text(f"reading {plain(str(run))}")):
        return Watcher(run)


def _display(watcher: Watcher, run: str, every: float, until_done: bool) -> None:
    """Draw on a screen of its own, and again at once when the terminal has another size."""
    console = Console()
    resized = threading.Event()
    before = signal.signal(signal.SIGWINCH, lambda *_: resized.set())
    try:
        with Live(console=console, screen=True, auto_refresh=False) as display:
            view, trouble = watcher.view(), ""
            while not (until_done and view.finished):
                display.update(draw(view, run, *console.size, trouble), refresh=True)
                if resized.wait(every):
                    resized.clear()
                else:
                    view, trouble = _next(watcher, view)
    finally:
        signal.signal(signal.SIGWINCH, before)
    _print_frame(view, run)


def _print_changes(watcher: Watcher, run: str, every: float, until_done: bool) -> None:
    """Print a frame whenever there is something new in it."""
    view, trouble = watcher.view(), ""
    printed, said = None, ""
    while True:
        if trouble and trouble != said:
            note(f"not up to date: {trouble}")
        said = trouble
        if (seen := _without_ages(view)) != printed:
            if printed is not None:
                print()
            printed = seen
            _print_frame(view, run)
            sys.stdout.flush()
        if until_done and view.finished:
            return
        time.sleep(every)
        view, trouble = _next(watcher, view)


def _next(watcher: Watcher, last: View) -> tuple[View, str]:
    """Where the run stands now; or the last that is known of it, and why it cannot be read."""
    try:
        return watcher.view(), ""
    except OSError as error:  # file servers come back
        return last, sentence(error)


def _print_frame(view: View, run: str) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=UNKNOWN_WIDTH)
    console.print(draw(view, run, console.width))


def _without_ages(view: View) -> View:
    """A view without what always changes: a frame is printed when the rest does."""
    jobs = [replace(job, age_s=0.0, time_left_s=None, silent_s=None) for job in view.jobs.jobs]
    return replace(
        view,
        now=0.0,
        remaining_s=None,
        running=tuple(replace(one, age_s=None) for one in view.running),
        jobs=Jobs(tuple(jobs), view.jobs.silence),
    )


def _as_json(view: View) -> dict[str, Any]:
    content = asdict(view)
    for entry, one in zip(content["running"], view.running, strict=True):
        entry["at_edge"] = list(one.at_edge)
    return {**content, "finished": view.finished, "to_go_s": view.to_go_s}


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program in order, so that the terminal is restored.

    Ignored signals stay ignored, as SIGHUP under nohup.
    """

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
