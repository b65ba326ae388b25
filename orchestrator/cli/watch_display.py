"""What ``eos watch`` shows: a view of a run as lines of text, for any width and height."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from orchestrator.cli.output import command, duration, plain, shown
from orchestrator.cli.status import state_in_words
from orchestrator.slurm.job_states import JobState
from orchestrator.watch import ColumnLine, Failure, RunningTrial, View

LEAST_LINES = 4
"""Of each section that has so many, as long as there is room."""

MOST_LINES = 40
"""Of each section where there is room for everything."""

TOP = 2.0
"""Of the scale of S·η/2, so that the edge, 1, is its middle."""

SCALE, SHORT_SCALE = "0 ▁▂▃▄ 1 ▅▆▇█ 2", "0▁▄1▅█2"

LONGEST_SPARKLINE = 40
NARROW, WIDE = 60, 100
"""Below the first, a line says the least; from the second on, η too."""

LABEL = 24
"""Cells of a column's name beside a running trial, at most."""

OLD_SECONDS = 20.0
"""News of a trial that are older are shown with their age: its step takes long, or it hangs."""

BLOCKS = "▁▂▃▄▅▆▇█"
"""From the bottom to the top of a scale, whose middle lies between the fourth and the fifth."""

UNKNOWN = "·"
"""Where nothing was measured."""

GAP = "  "
"""Between two cells of a line."""


def draw(view: View, run: str, width: int, height: int | None = None, trouble: str = "") -> Text:
    """A view in so many columns and lines of a terminal; without a height, in as many as it takes.

    ``run`` is what the user calls the run directory; ``trouble`` is what keeps it from being read
    now. No line is longer than ``width``, and there are at most ``height``.
    """
    found = [
        running_section(view, width),
        failures_section(view, run, width),
        jobs_section(view, width),
        columns_section(view, width),
    ]
    sections = [section for section in found if section is not None]
    lines = _head(view, width)
    foot = [] if height is None else [_foot(trouble)]
    if height is None:
        counts = [min(len(section.lines), MOST_LINES) for section in sections]
    else:
        counts = portions(height - len(lines) - len(foot) - 1, sections, LEAST_LINES)
    for section, count in zip(sections, counts, strict=True):
        lines += _shown(section, count)
    if height is not None:
        lines = lines[: max(height - len(foot) - 1, 1)]
        lines += [Text("")] * (height - len(foot) - len(lines)) + foot
        lines = lines[:height]
    return Text("\n").join(cut(one, width) for one in lines)


def _foot(trouble: str) -> Text:
    if trouble:
        return Text(f"not up to date: {plain(trouble)}", style="red")
    return Text("Ctrl-C ends watching; the run goes on", style="dim")


def _shown(section: Section, count: int) -> list[Text]:
    """A section's title and so many lines; none for a negative count."""
    if count < 0:
        return []
    lines = list(section.lines[:count])
    missing = len(section.lines) - len(lines)
    if missing and lines:
        lines[-1] = Text(f"… and {missing + 1} more", style="dim")
    return [Text(""), *section.title, *lines]


def _head(view: View, width: int) -> list[Text]:
    """Who it is, where columns and trials stand, and what is to be expected."""
    title = Text.assemble((plain(view.name), "bold"))
    if view.folder != view.name:
        title.append(f"  in {plain(view.folder)}", style="dim")
    if view.since is not None:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(view.since))
        end = view.until if view.finished and view.until is not None else view.now
        title.append(f"  since {began}, {duration(max(end - view.since, 0.0))}", style="dim")
    columns, trials = view.columns, view.trials
    done = trials.settled + trials.skipped
    of_columns = _counts("columns", columns.complete, columns.total, width)
    of_columns.append(f", {columns.running} at work")
    of_trials = _counts("trials", done, trials.total, width)
    of_trials.append(f", {trials.running} running")
    if width >= NARROW:
        of_columns.append(f", {columns.waiting} waiting")
        of_trials.append(f", {trials.to_do} to do")
    for text, failed in ((of_columns, columns.failed), (of_trials, trials.failed)):
        text.append(f", {failed} failed", style="bold red" if failed else "dim")
    if trials.blocked:
        of_trials.append(f", {trials.blocked} blocked", style="red")
    if trials.skipped:
        of_trials.append(f", {trials.skipped} skipped", style="dim")
    return [title, of_columns, of_trials, _outlook(view)]


def _counts(name: str, done: int, total: int, width: int) -> Text:
    size = min(width - 72, 24)
    full = size * done // max(total, 1) if size >= 8 else 0
    bar = "" if size < 8 else "━" * full
    rest = "" if size < 8 else "─" * (size - full) + "  "
    return Text.assemble(
        f"{name:<9}" if width >= NARROW else f"{name} ", (bar, "green"), (rest, "dim"),
        (f"{done}/{total} done", "bold"),
    )  # fmt: skip


def _outlook(view: View) -> Text:
    """What is to be expected."""
    if view.finished:
        failed = view.trials.failed or view.columns.failed
        return Text("finished, not without failures" if failed else "finished", style="bold green")
    if not view.held:
        return Text("nobody works on it at this moment", style="yellow")
    processes = f"{view.processes} process{'' if view.processes == 1 else 'es'} at work"
    if view.to_go_s is None:
        return Text(processes if view.processes else "at work; no trial runs at this moment")
    return Text(f"about {duration(view.to_go_s)} to go with {processes}")


@dataclass(frozen=True)
class Section:
    """A title with headings, and lines, of which as many are shown as there is room for."""

    title: tuple[Text, ...]
    lines: tuple[Text, ...]


def running_section(view: View, width: int) -> Section | None:
    """The trials that run, each with S·η/2 at its last recorded points."""
    if not view.running:
        return None
    longest = max(len(plain(one.column)) for one in view.running)
    label = min(max(longest, len("column")), LABEL) if longest and width >= NARROW else 0
    parts = _parts(label, width)
    title = Text("running trials", style="bold")
    heading = line([(Text(_heading(name, size), style="dim"), size) for name, size in parts])
    lines = [line([(_cell(one, name, size), size) for name, size in parts]) for one in view.running]
    return Section((title, heading), tuple(lines))


_HEADINGS = {
    "column": "column",
    "name": "η/final η_c",
    "eta": "η",
    "step": "step",
    "loss": "loss",
    "edge": "S·η/2",
}


def _heading(name: str, size: int) -> str:
    if name == "points":
        return SCALE if size >= len(SCALE) else SHORT_SCALE
    return _HEADINGS[name]


def _parts(label: int, width: int) -> list[tuple[str, int]]:
    """The cells of a line about a trial, and their widths; the sparkline has what is left."""
    parts = [("column", label)] if label else []
    parts.append(("name", 11))
    if width >= WIDE:
        parts.append(("eta", -9))
    if width >= NARROW:
        parts.append(("step", -9))
    parts += [("loss", -8), ("edge", -6)]
    left = width - sum(abs(size) + 2 for _, size in parts)
    return [*parts, ("points", max(min(left, LONGEST_SPARKLINE), 1))]


def _cell(one: RunningTrial, name: str, size: int) -> Text | str:
    """What stands in one cell; of a flow, S in place of S·η/2, scaled to its largest."""
    flow = one.learning_rate is None
    values = one.sharpness if flow else one.at_edge
    if name == "column":
        return plain(one.column)
    if name == "name":
        return _name(one)
    if name == "eta":
        return "" if one.kind == "flow" else shown(one.learning_rate)
    if name == "step":
        return "starts" if one.step is None else f"{one.step:,}"
    if name == "loss":
        return shown(one.loss)
    if name == "edge":
        last = next((value for value in reversed(values) if value is not None), None)
        return "–" if last is None else f"S {last:.3g}" if flow else f"{last:.3f}"
    known = [value for value in values if value is not None]
    drawn = sparkline(values, size, max(known, default=0.0) if flow else TOP)
    if flow:
        drawn = Text(drawn.plain, style="dim")
    if one.age_s is not None and one.age_s > OLD_SECONDS:
        drawn.append(f" {duration(one.age_s)} ago", style="dim")
    return drawn


def _name(one: RunningTrial) -> str:
    if one.eta_over_final_eta_c is not None:
        return f"{one.eta_over_final_eta_c:.4g}"
    if one.learning_rate is not None:
        return f"η {one.learning_rate:.3g}"
    return "flow" if one.kind == "flow" else "–"


def failures_section(view: View, run: str, width: int) -> Section | None:
    """The last failures, a line each, and the command that says more."""
    if not view.failures:
        return None
    title = Text.assemble(
        ("failures", "bold"), (f"  {command()} why {plain(shlex.quote(run))}", "dim")
    )
    return Section((title,), tuple(_failure(one, width) for one in view.failures))


def _failure(one: Failure, width: int) -> Text:
    text = Text.assemble(
        plain(one.trial_id)[: 6 if width < NARROW else 16],
        ("  " + plain(one.failure_class), "red" if one.final else "yellow"),
    )
    if width >= NARROW:
        text.append("  given up" if one.final else "  tried again", style="dim")
    return text.append("  " + plain(one.message))


def jobs_section(view: View, width: int) -> Section | None:
    """The SLURM jobs, and since when that is known."""
    jobs = view.jobs
    if not jobs.jobs and jobs.silence is None:
        return None
    live = sum(job.live for job in jobs.jobs)
    title = Text.assemble(("SLURM jobs", "bold"), f"  {live} live, {len(jobs.jobs) - live} ended")
    if jobs.age_s >= 1:
        title.append(f", asked {duration(jobs.age_s)} ago", style="dim")
    titles = [title]
    if jobs.silence is not None:
        silence = f"the queue is not known ({plain(jobs.silence)})"
        titles.append(Text(silence, style="yellow"))
    return Section(tuple(titles), tuple(_job(job, width) for job in jobs.jobs))


def _job(job: JobState, width: int) -> Text:
    left = "" if job.time_left_s is None else f"{duration(job.time_left_s)} left"
    state = Text(plain(state_in_words(job)), style="" if job.live else "dim")
    nodes, reason = plain(job.nodes or "–"), plain(job.reason or "")
    if width < NARROW:
        return line([(plain(job.job_id), 8), (state, 12), (left or nodes, 16)])
    cells: list[tuple[Text | str, int]] = [(plain(job.job_id), 10), (state, 20), (nodes, 16)]
    return line([*cells, (left, -13), (reason, max(width - 67, 1))])


def columns_section(view: View, width: int) -> Section | None:
    """The columns that are worked on or have failures."""
    if not view.lines or (view.columns.total == 1 and not view.lines[0].blocked):
        return None
    return Section(
        (Text("columns at work, or with failures", style="bold"),),
        tuple(_column(one, width) for one in view.lines),
    )


def _column(one: ColumnLine, width: int) -> Text:
    done, total = one.trials.settled + one.trials.skipped, one.trials.total
    words = [f"{one.trials.failed} failed"] if one.trials.failed else []
    words += [f"{one.trials.running} running"] if one.trials.running else []
    words += [plain(one.blocked)] if one.blocked else []
    said = Text(", ".join(words), style="red" if one.trials.failed or one.blocked else "")
    label = min(max(width - 30, 12), 64)
    return line([(plain(one.label), label), (f"{done}/{total}", -7), (said, width)])


def portions(room: int, sections: Sequence[Section], least: int) -> list[int]:
    """How many lines each section shows, so that with their titles they fit into the room.

    Each gets ``least`` of them first, in order, and then the first the rest of what it has. Where
    not all are shown, one of the lines says how many are missing.
    """
    counts = [0] * len(sections)
    for index, section in enumerate(sections):
        wanted = min(len(section.lines), least)
        frame = 1 + len(section.title)
        if room >= frame + min(wanted, 1):
            counts[index] = min(wanted, room - frame)
            room -= frame + counts[index]
        else:
            counts[index] = -1
    for index, section in enumerate(sections):
        if counts[index] >= 0:
            more = min(len(section.lines) - counts[index], room)
            counts[index] += more
            room -= more
    return counts


def sparkline(values: Sequence[float | None], width: int, top: float) -> Text:
    """The last ``width`` values on a scale from 0 to ``top``.

    Those from its middle on have another colour; what lies above the top is drawn as the top, in a
    third.
    """
    line = Text()
    for value in values[-width:]:
        if value is None or not math.isfinite(value):
            line.append(UNKNOWN, style="dim")
            continue
        share = value / top if top > 0 else 0.0
        place = min(max(int(share * len(BLOCKS)), 0), len(BLOCKS) - 1)
        style = "cyan" if share < 0.5 else "yellow" if share <= 1 else "red"
        line.append(BLOCKS[place], style=style)
    return line


def line(cells: Sequence[tuple[Text | str, int]]) -> Text:
    """Cells side by side, each cut and filled to its width: to the right where that is negative."""
    whole = Text()
    for number, (content, size) in enumerate(cells):
        cell = content.copy() if isinstance(content, Text) else Text(content)
        cell.truncate(abs(size), overflow="ellipsis")
        whole.append(GAP if number else "")
        fill = " " * (abs(size) - cell.cell_len)
        whole.append(fill if size < 0 else "")
        whole.append_text(cell)
        whole.append(fill if size >= 0 else "")
    return whole


def cut(text: Text, width: int) -> Text:
    """One line of at most so many cells."""
    text.rstrip()
    text.truncate(width, overflow="ellipsis")
    return text
