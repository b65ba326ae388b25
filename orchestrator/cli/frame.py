"""What ``eos watch`` shows: a view of a run as lines of text, for any width and height."""

from __future__ import annotations

import time

from rich.text import Text

from orchestrator.cli.output import duration
from orchestrator.cli.plain_text import cut, plain
from orchestrator.cli.watch_sections import (
    NARROW,
    Section,
    columns_section,
    failures_section,
    jobs_section,
    portions,
    running_section,
)
from orchestrator.watch import View

LEAST_LINES = 4
"""Of each section that has so many, as long as there is room."""

MOST_LINES = 40
"""Of each section where there is room for everything."""


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
