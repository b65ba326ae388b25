"""What a run shows while it runs: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import duration, note
from orchestrator.cli.output import stderr as console
from orchestrator.engine import Snapshot, TrialProgress

MOST_SHOWN = 8
LINE_SECONDS = 5.0
"""Between plain lines, unless a trial has ended."""


class Progress:
    """Shows snapshots of a run on stderr while the context is open."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._started = time.monotonic()
        self._last_line, self._last_ended = -math.inf, -1

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show where the run stands now."""
        if self._live is not None:
            self._live.update(self._display(snapshot))
            return
        trials = snapshot.trials
        now, ended = time.monotonic(), trials.settled + trials.failed
        # Many trials may end in a second, and a log is read later: one line a second is enough.
        pause = 1.0 if ended != self._last_ended else LINE_SECONDS
        if now - self._last_line >= pause or trials.left == 0:
            self._last_line, self._last_ended = now, ended
            note(_line(snapshot))

    def _display(self, snapshot: Snapshot) -> Group:
        columns, trials = snapshot.columns, snapshot.trials
        failed = Text(f"{trials.failed} failed", style="red" if trials.failed else "dim")
        elapsed = duration(time.monotonic() - self._started)
        head = Text.assemble((self._name, "bold"), f"  {elapsed}{_time_to_go(snapshot)}  ", failed)
        done = bars(
            [
                ("columns", columns.complete, columns.total, Text()),
                ("trials", trials.settled, trials.wanted, Text()),
            ],
            width=40,
        )
        lines = [Text(_running(item)) for item in snapshot.running[:MOST_SHOWN]]
        hidden = len(snapshot.running) - MOST_SHOWN
        if hidden > 0:
            lines.append(Text(f"and {hidden} more", style="dim"))
        return Group(head, done, *lines)


def bars(counts: Iterable[tuple[str, int, int, Text]], width: int) -> Table:
    """A line for each name: a bar, how many of how many are done, and what else is said of it."""
    table = Table.grid(padding=(0, 1))
    for name, done, total, more in counts:
        bar = [ProgressBar(max(total, 1), done, width=width)] if width else []
        said = Text.assemble((f"{done}/{total} done", "bold"), more)
        said.no_wrap, said.overflow = True, "ellipsis"
        table.add_row(name, *bar, said)
    return table


def _line(snapshot: Snapshot) -> str:
    columns, trials = snapshot.columns, snapshot.trials
    running = "; ".join(_running(item) for item in snapshot.running[:MOST_SHOWN])
    failed = f", {trials.failed} failed" if trials.failed else ""
    return (
        f"{time.strftime('%H:%M:%S')} {trials.settled}/{trials.wanted} trials, "
        f"{columns.complete}/{columns.total} columns done{failed}"
        f"{_time_to_go(snapshot)}{' · ' + running if running else ''}"
    )


def _running(item: TrialProgress) -> str:
    if item.learning_rate is None:
        name = "flow"
    elif item.eta_over_final_eta_c is None:
        name = f"η {item.learning_rate:.3g}"
    else:
        name = f"η/final η_c {item.eta_over_final_eta_c:.3g}"
    if not math.isfinite(item.loss):
        return f"{name} starts"
    return f"{name} step {item.step:,} loss {item.loss:.4g}"


def _time_to_go(snapshot: Snapshot) -> str:
    if snapshot.remaining_s is None or not snapshot.trials.left:
        return ""
    return f", about {duration(snapshot.remaining_s)} to go"
