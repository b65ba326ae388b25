"""What a run shows while it runs: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import duration, note, stderr, warn
from orchestrator.engine import Snapshot, TrialProgress

MOST_SHOWN = 8
LINE_SECONDS = 5.0
"""Between plain lines, unless a trial has ended."""


class Progress:
    """Shows snapshots of a run on stderr while the context is open."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = Live(console=stderr, refresh_per_second=4) if stderr.is_terminal else None
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
            note(self._line(snapshot))

    def warn(self, message: str) -> None:
        """Say something that the user should know, without disturbing the display."""
        warn(message)

    def _line(self, snapshot: Snapshot) -> str:
        running = "; ".join(_running(item) for item in snapshot.running[:MOST_SHOWN])
        trials = snapshot.trials
        failed = f", {trials.failed} failed" if trials.failed else ""
        return (
            f"{time.strftime('%H:%M:%S')} {trials.settled}/{trials.wanted} trials, "
            f"{snapshot.columns_complete}/{snapshot.columns} columns done{failed}"
            f"{_time_to_go(snapshot)}{' · ' + running if running else ''}"
        )

    def _display(self, snapshot: Snapshot) -> RenderableType:
        bars = Table.grid(padding=(0, 1))
        for label, done, total in (
            ("columns", snapshot.columns_complete, snapshot.columns),
            ("trials", snapshot.trials.settled, snapshot.trials.wanted),
        ):
            bar = ProgressBar(total=max(total, 1), completed=done, width=40)
            bars.add_row(label, bar, f"{done}/{total}")
        number = snapshot.trials.failed
        failed = Text(f"{number} failed", style="red" if number else "dim")
        elapsed = duration(time.monotonic() - self._started)
        head = Text.assemble((self._name, "bold"), f"  {elapsed}{_time_to_go(snapshot)}  ", failed)
        lines = [Text(_running(item)) for item in snapshot.running[:MOST_SHOWN]]
        hidden = len(snapshot.running) - MOST_SHOWN
        if hidden > 0:
            lines.append(Text(f"and {hidden} more", style="dim"))
        return Group(head, bars, *lines)


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
