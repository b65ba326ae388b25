"""What ``eos watch`` shows: a view of a run, laid out for any width and height."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    RenderableType,
    RenderResult,
)
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from orchestrator.cli.output import command, duration, plain, shown
from orchestrator.cli.progress import bars
from orchestrator.cli.status import state_in_words
from orchestrator.slurm.job_states import JobState
from orchestrator.watch import RunningTrial, View

LEAST_ROWS, MOST_ROWS = 4, 40
"""Of each section: that many as long as there is room, and where there is room for everything."""

TOP = 2.0
"""Of the scale of S·η/2, so that the edge, 1, is its middle."""

BLOCKS, UNKNOWN = "▁▂▃▄▅▆▇█", "·"
"""From the bottom of a scale to its top, its middle between the fourth and the fifth; and for what
was not measured."""

SCALE, SHORT_SCALE = "0 ▁▂▃▄ 1 ▅▆▇█ 2", "0▁▄1▅█2"

LONGEST_SPARKLINE = 40
NARROW, WIDE = 60, 100
"""Below the first, a line says the least; from the second on, η too."""

OLD_SECONDS = 20.0
"""News of a trial that are older are shown with their age: its step takes long, or it hangs."""


@dataclass(frozen=True)
class Section:
    """A title, and rows of a table of which as many are shown as there is room for."""

    title: tuple[Text, ...]
    columns: Sequence[Column]
    rows: Sequence[Sequence[RenderableType]]
    headed: bool = False

    @property
    def frame(self) -> int:
        """How many lines it has besides its rows."""
        return 1 + len(self.title) + self.headed

    def shown(self, count: int) -> list[RenderableType]:
        """The section with this many lines for its rows; nothing for a negative number."""
        if count < 0:
            return []
        hidden = len(self.rows) - count
        table = Table(
            *self.columns,
            box=None,
            padding=(0, 2, 0, 0),
            pad_edge=False,
            show_header=self.headed,
            header_style="dim",
        )
        for row in self.rows[: count - (hidden > 0)] if count else ():
            table.add_row(*row)
        more = [Text(f"… and {hidden + 1} more", style="dim")] if hidden > 0 and count else []
        return [Text(), *self.title, table, *more]


def draw(view: View, run: str, width: int, height: int | None = None, trouble: str = "") -> Group:
    """A view for this width and height of a terminal; without a height, with as many lines as it
    takes.

    ``run`` is what the user calls the run directory; ``trouble`` is what keeps it from being read
    now.
    """
    found = (
        _running(view, width),
        _failures(view, run, width),
        _jobs(view, width),
        _columns(view),
    )
    sections = [section for section in found if section is not None]
    head = _head(view, width)
    if height is None:
        counts = [min(len(section.rows), MOST_ROWS) for section in sections]
    else:
        room = height - 4 - 2  # the head and the foot
        counts = portions(room, sections)
    shown = list(zip(sections, counts, strict=True))
    lines = [line for section, count in shown for line in section.shown(count)]
    if height is None:
        return Group(*head, *lines)
    used = sum(section.frame + count for section, count in shown if count >= 0)
    foot = _text("Ctrl-C ends watching; the run goes on", "dim")
    if trouble:
        foot = _text(f"not up to date: {trouble}", "red")
    return Group(*head, *lines, Text("\n" * (room - used)), foot)


def portions(room: int, sections: Sequence[Section]) -> list[int]:
    """How many rows each section shows, so that with their frames they fit into the room; -1 where
    not even the frame does.

    Each gets :data:`LEAST_ROWS` of them first, in order, and then the first the rest of what it
    has. Where not all are shown, one of the lines says how many are missing.
    """
    counts = [-1] * len(sections)
    for index, section in enumerate(sections):
        wanted = min(len(section.rows), LEAST_ROWS)
        if room >= section.frame + min(wanted, 1):
            counts[index] = min(wanted, room - section.frame)
            room -= section.frame + counts[index]
    for index, section in enumerate(sections):
        if counts[index] >= 0:
            more = min(len(section.rows) - counts[index], room)
            counts[index] += more
            room -= more
    return counts


def _text(content: str, style: str = "") -> Text:
    """One line, cut where it is too long, without anything that a terminal would act on."""
    return Text(plain(content), style, no_wrap=True, overflow="ellipsis")


def _fixed(heading: str = "", width: int | None = None, justify: JustifyMethod = "left") -> Column:
    """A column that keeps its width; the cells of the others are cut where the room ends."""
    return Column(heading, justify=justify, min_width=width, no_wrap=True)


def _head(view: View, width: int) -> list[RenderableType]:
    """What is watched, how many columns and trials are in which state, and what is to be expected:
    four lines."""
    title = _text(view.name, "bold")
    if view.folder != view.name:
        title.append(f"  in {plain(view.folder)}", style="not bold dim")
    if view.since is not None:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(view.since))
        end = view.until if view.finished and view.until is not None else view.now
        title.append(
            f"  since {began}, {duration(max(end - view.since, 0.0))}", style="not bold dim"
        )
    columns, trials = view.columns, view.trials
    of_columns, of_trials = (
        Text(f", {columns.running} running"),
        Text(f", {trials.running} running"),
    )
    if width >= NARROW:
        of_columns.append(f", {columns.waiting} waiting")
        of_trials.append(f", {trials.to_do} to do")
    for text, failed in ((of_columns, columns.failed), (of_trials, trials.failed)):
        text.append(f", {failed} failed", style="bold red" if failed else "dim")
    if trials.blocked:
        of_trials.append(f", {trials.blocked} blocked", style="red")
    if trials.skipped:
        of_trials.append(f", {trials.skipped} skipped", style="dim")
    counts = [
        ("columns", columns.complete, columns.total, of_columns),
        ("trials", trials.settled, trials.wanted, of_trials),
    ]
    return [title, bars(counts, width=min(width - 72, 24) if width >= 80 else 0), _outlook(view)]


def _outlook(view: View) -> Text:
    """What is to be expected."""
    if view.finished:
        failed = view.trials.failed or view.columns.failed
        return _text("finished, with failures" if failed else "finished", "bold green")
    if not view.active:
        return _text("no active workers", "yellow")
    processes = f"{view.processes} active process{'' if view.processes == 1 else 'es'}"
    if view.to_go_s is not None:
        return _text(f"about {duration(view.to_go_s)} to go with {processes}")
    return _text(processes if view.processes else "active, but no trial is running")


def _running(view: View, width: int) -> Section | None:
    """The trials that run, each with S·η/2 at its last recorded points."""
    if not view.running:
        return None
    shown = {
        "column": Column("column", max_width=24),
        "relative": _fixed("η/final η_c"),
        "eta": _fixed("η", 9, "right"),
        "step": _fixed("step", 9, "right"),
        "loss": _fixed("loss", 8, "right"),
        "edge": _fixed("S·η/2", 6, "right"),
        "points": Column(SCALE if width >= 80 else SHORT_SCALE),
        "age": _fixed(),
    }
    if width < NARROW or not any(one.column for one in view.running):
        del shown["column"]
    if width < WIDE:
        del shown["eta"]
    if width < NARROW:
        del shown["step"]
    if not any(map(_is_old, view.running)):
        del shown["age"]
    rows = [[cell for name, cell in _cells(one).items() if name in shown] for one in view.running]
    title = _text("running trials", "bold")
    return Section((title,), list(shown.values()), rows, headed=True)


def _cells(one: RunningTrial) -> dict[str, RenderableType]:
    """What stands in the columns for a trial; for a flow, S in place of S·η/2, scaled to its
    largest."""
    flow = one.learning_rate is None
    values = one.sharpness if flow else one.at_edge
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) if flow else TOP
    edge = "–" if not known else f"S {known[-1]:.3g}" if flow else f"{known[-1]:.3f}"
    relative = "flow" if one.kind == "flow" else "–"
    if one.eta_over_final_eta_c is not None:
        relative = f"{one.eta_over_final_eta_c:.4g}"
    elif one.learning_rate is not None:
        relative = f"η {one.learning_rate:.3g}"
    return {
        "column": _text(one.column),
        "relative": _text(relative),
        "eta": _text("" if one.kind == "flow" else shown(one.learning_rate)),
        "step": _text("starts" if one.step is None else f"{one.step:,}"),
        "loss": _text(shown(one.loss)),
        "edge": _text(edge),
        "points": Sparkline(values, top, "dim" if flow else ""),
        "age": _text(f"{duration(one.age_s or 0.0)} ago" if _is_old(one) else "", "dim"),
    }


def _is_old(one: RunningTrial) -> bool:
    return one.age_s is not None and one.age_s > OLD_SECONDS


def _failures(view: View, run: str, width: int) -> Section | None:
    """The last failures, a line each, and the command that says more."""
    if not view.failures:
        return None
    narrow = width < NARROW
    rows = [
        [
            _text(one.trial_id[: 6 if narrow else 16]),
            _text(one.failure_class, "red" if one.final else "yellow"),
            *([] if narrow else [_text("given up" if one.final else "tried again", "dim")]),
            _text(one.message),
        ]
        for one in view.failures
    ]
    title = _text("failures", "bold")
    title.append(f"  {plain(command('why', run))}", style="not bold dim")
    return Section((title,), [*(_fixed() for _ in rows[0][1:]), Column()], rows)


def _jobs(view: View, width: int) -> Section | None:
    """The SLURM jobs, and since when that is known."""
    jobs = view.jobs
    if not jobs.jobs and jobs.silence is None:
        return None
    live = sum(job.live for job in jobs.jobs)
    title = _text("SLURM jobs", "bold")
    title.append(f"  {live} live, {len(jobs.jobs) - live} ended", style="not bold")
    if jobs.age_s >= 1:
        title.append(f", asked {duration(jobs.age_s)} ago", style="not bold dim")
    titles = [title]
    if jobs.silence is not None:
        titles.append(_text(f"the queue is not known ({jobs.silence})", "yellow"))
    columns = [_fixed(), Column(max_width=20), Column(max_width=16)]
    if width >= NARROW:
        columns += [_fixed(justify="right"), Column()]
    return Section(tuple(titles), columns, [_job(job, width) for job in jobs.jobs])


def _job(job: JobState, width: int) -> list[RenderableType]:
    left = "" if job.time_left_s is None else f"{duration(job.time_left_s)} left"
    begin = [_text(job.job_id), _text(state_in_words(job), "" if job.live else "dim")]
    if width < NARROW:
        return [*begin, _text(left or job.nodes or "–")]
    return [*begin, _text(job.nodes or "–"), _text(left), _text(job.reason or "")]


def _columns(view: View) -> Section | None:
    """The columns that run or have failures."""
    if not view.lines or (view.columns.total == 1 and not view.lines[0].blocked):
        return None
    rows = []
    for one in view.lines:
        trials = one.trials
        said = [f"{trials.failed} failed"] if trials.failed else []
        said += [f"{trials.running} running"] if trials.running else []
        said += [one.blocked] if one.blocked else []
        style = "red" if trials.failed or one.blocked else ""
        done = f"{trials.settled}/{trials.wanted}"
        rows.append([_text(one.label), _text(done), _text(", ".join(said), style)])
    columns = [Column(max_width=64), _fixed(justify="right"), Column()]
    return Section((_text("columns that run or have failures", "bold"),), columns, rows)


@dataclass(frozen=True)
class Sparkline:
    """The last of these values, as many as there is room for, as blocks on a scale from 0 to
    ``top``.

    Those from its middle on have another colour; what lies above the top is drawn as the top, in a
    third.
    """

    values: Sequence[float | None]
    top: float
    style: str = ""

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, min(max(len(self.values), 1), LONGEST_SPARKLINE))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.drawn(options.max_width)

    def drawn(self, width: int) -> Text:
        """The last ``width`` values, a block each."""
        line = Text()
        for value in self.values[-width:]:
            if value is None or not math.isfinite(value):
                line.append(UNKNOWN, style="dim")
                continue
            share = value / self.top if self.top > 0 else 0.0
            place = min(max(int(share * len(BLOCKS)), 0), len(BLOCKS) - 1)
            colour = "cyan" if share < 0.5 else "yellow" if share <= 1 else "red"
            line.append(BLOCKS[place], style=self.style or colour)
        return line
