"""The sections of what ``eos watch`` shows: titles and lines, to be cut to a terminal's width."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from orchestrator.cli.output import command, duration, shown
from orchestrator.cli.plain_text import line, plain
from orchestrator.cli.slurm_jobs import state_in_words
from orchestrator.cli.sparkline import sparkline
from orchestrator.slurm.job_state import JobState
from orchestrator.watch import ColumnLine, Failure, RunningTrial, View

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
    "name": "η/η_c",
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
    parts.append(("name", 7))
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
    if one.eta_over_eta_c is not None:
        return f"{one.eta_over_eta_c:.4g}"
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
