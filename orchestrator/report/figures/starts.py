"""Trials that begin where others were, beside these and the flow, at equal training loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import drawing
from orchestrator.report.drawing import GREY, INK, TEXT, key
from orchestrator.report.figures.trajectories import thinned
from orchestrator.report.labels import PROBLEM, in_one_line, shortened, title
from orchestrator.report.places import Row, ratio
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Column, Tables, Trajectory, groups
from orchestrator.store import TRAINING_FIELDS

MOST_PARENTS = 6
MOST_CHILDREN = 24

_INCHES = (7.4, 8.6)
_PANELS = {
    "sharpness": "sharpness  $S$",
    "l1_norm": r"norm  $\Vert\theta\Vert_1$",
    "test_loss": "test loss",
}
_DASHES: tuple[Any, ...] = ((0, (4, 1.6)), (0, (1.6, 1.4)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))
_FLOW: dict[str, Any] = {"color": INK, **drawing.FLOW}
_START: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linestyle": "none"}

_CAPTION = (
    "Trials that begin at states of others (dashed, from a point) beside their parents (solid, of "
    "the same colour) and the gradient flow: sharpness S, norm ‖θ‖₁ and test loss against the "
    "training loss, which falls to the right. Children of one parent have dashes of their own for "
    f"each start and learning rate. At most {MOST_PARENTS} parents and {MOST_CHILDREN} children of "
    "a problem are drawn. A mean of iterates has a training loss of its own, so that its point may "
    "lie off its parent's line."
)


@dataclass(frozen=True, eq=False)
class Line:
    """A trial in time, with its row at its smallest ε."""

    row: Row
    steps: Trajectory


def starts(tables: Tables) -> Iterator[ReportFigure]:
    """The trials with a start of each problem that has such, with their parents and the flow."""
    for columns in groups(tables.columns, {*TRAINING_FIELDS}):
        if all(column["start"] is None for column in columns):
            continue
        tables.read(columns)
        rows = chosen_rows([row for one in columns for row in tables.trials(one)])
        steps = tables.trajectories(list(dict.fromkeys(row["trial_id"] for row in rows)))
        lines = [
            Line(row, steps[row["trial_id"]].in_gds_units(row))
            for row in rows
            if row["trial_id"] in steps
        ]
        if any(line.row["parent_id"] for line in lines):
            heading = _title(columns)
            yield ReportFigure(
                f"starts-{next(c for c in columns if c['start'])['column_id']}",
                f"Going on from states: {in_one_line(heading)}",
                _CAPTION,
                _alternative(lines),
                starts_figure(lines, heading),
            )


def chosen_rows(rows: Sequence[Row]) -> list[Row]:
    """The flow that went furthest, parents and children; of each its row at the smallest ε."""
    last: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: -row["epsilon"]):
        last[row["trial_id"]] = row
    children = [row for row in last.values() if row["parent_id"] in last]
    parents = list(dict.fromkeys(row["parent_id"] for row in children))[:MOST_PARENTS]
    flows = [row for row in last.values() if row["kind"] == "flow"]
    shown = [row for row in children if row["parent_id"] in parents][:MOST_CHILDREN]
    return [
        *sorted(flows, key=lambda row: float(row["epsilon"]))[:1],
        *(last[parent] for parent in parents if last[parent] not in shown),
        *shown,
    ]


def starts_figure(lines: Sequence[Line], title: str) -> Figure:
    """Draw trials against their training loss, in three panels."""
    figure = drawing.sheet(_INCHES, title)
    panels: list[Axes] = list(figure.subplots(3, 1, sharex=True))
    named = {line.row["trial_id"]: line for line in lines}
    children = [line for line in lines if line.row["parent_id"] in named]
    parents = list(dict.fromkeys(line.row["parent_id"] for line in children))
    roots = [one for one in parents if named[one].row["parent_id"] not in named]
    shades = drawing.ordered_colors(len(roots))
    colors = {one: shades[roots.index(_root(one, named))] for one in parents}
    kinds = list(dict.fromkeys(_kind(line.row) for line in children))
    handles = []
    for line in lines:
        row = line.row
        if row["kind"] == "flow":
            style = _FLOW
        elif line in children:
            dash = _DASHES[kinds.index(_kind(row)) % len(_DASHES)]
            style = {"color": colors[row["parent_id"]], "linewidth": 1.2, "linestyle": dash}
        else:
            style = {"color": colors[row["trial_id"]], "linewidth": 1.4}
            handles.append(key(_rate(row), **style))
        for axes, measure in zip(panels, _PANELS, strict=True):
            _draw(axes, line, measure, style, begins=line in children)
    for axes, label in zip(panels, _PANELS.values(), strict=True):
        drawing.set_up_panel(axes, label)
        drawing.widen_span(axes)
    if all(np.nanmin(line.steps.test_loss, initial=np.inf) > 0 for line in lines):
        panels[-1].set_yscale("log")
        drawing.set_log_ticks(panels[-1].yaxis, *panels[-1].get_ylim())
    panels[0].set_xscale("log")
    low, high = panels[0].get_xlim()
    drawing.set_log_ticks(panels[0].xaxis, low, high)
    panels[0].set_xlim(high, low)
    panels[-1].set_xlabel("training loss, falling to the right", fontsize=TEXT)
    figure.align_ylabels(panels)
    handles += [
        key(f"then {kind}", color=GREY, linewidth=1.2, linestyle=_DASHES[n % len(_DASHES)])
        for n, kind in enumerate(kinds)
    ]
    if len(lines) > len(children) + len(parents):
        handles.append(key("gradient flow", **_FLOW))
    drawing.legend_below(figure, handles, 2)
    return figure


def _root(trial_id: str, named: dict[str, Line]) -> str:
    """The first of a chain of parents that is drawn."""
    while (parent := named[trial_id].row["parent_id"]) in named:
        trial_id = parent
    return trial_id


def _draw(axes: Axes, line: Line, measure: str, style: dict[str, Any], *, begins: bool) -> None:
    loss, values = line.steps.train_loss, getattr(line.steps, measure)
    known = np.isfinite(loss) & (loss > 0)
    # By the number of the point, for the loss may rise: a line of the same outline.
    places = thinned(np.arange(len(loss), dtype=np.float64)[known], values[known])[0].astype(int)
    axes.plot(loss[places], values[places], **style)
    if begins and len(loss):
        axes.plot(loss[0], values[0], color=style["color"], **_START)


def _rate(row: Row) -> str:
    """The learning rate of a trial, in units of η_c where that is known, and its optimiser."""
    relative = ratio(row)
    name = rf"{row['eta']:.3g}" if relative is None else rf"{relative:.3g} $\eta_c$"
    return name if row["optimizer"] == "gd" else f"{row['optimizer'].replace('_', ' ')} {name}"


def _kind(row: Row) -> str:
    """How a child goes on, and from what sort of state, whatever the rate of its parent."""
    state = row["start"].rpartition("; ")[2].partition(", ")[2]
    return f"{_rate(row)} from {shortened(state)}"


def _title(columns: Sequence[Column]) -> str:
    plain = {**{name: columns[0][name] for name in PROBLEM}, "optimizer": "gd", "start": None}
    return title(plain)


def _alternative(lines: Sequence[Line]) -> str:
    children = sum(line.row["parent_id"] is not None for line in lines)
    return (
        "Three panels against the training loss: sharpness, the norm ‖θ‖₁ and test loss, of "
        f"{children} trials that begin at states of others, of these, and of the gradient flow."
    )
