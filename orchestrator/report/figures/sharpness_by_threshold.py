"""The largest sharpness of the flow, and with it η_c, against the loss threshold ε."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report import drawing
from orchestrator.report.drawing import INK, SMALL, TEXT
from orchestrator.report.labels import (
    MOST_IN_LEGEND,
    field_name,
    shortened,
    value_of,
    without_math,
)
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import FIELDS, Column, Tables, groups, values, varying

MOST_PANELS = 9
MOST_OF_A_FIELD = 3
"""Panels that differ in the same field."""
MOST_LINES = 7
"""Named lines of a panel; beyond that, some values of a field are left out evenly."""

_ACROSS = 3
_MOST_TICKS = 4
_ACROSS_A_PANEL = 38
_PANEL = (4.0, 3.2)
_TITLE = "The flow's largest sharpness against the loss threshold"
_CAPTION = (
    "The largest sharpness s_gf along the gradient flow until its training loss is ε, against ε; "
    "training goes on to the right, and η_c = 2/s_gf. Each panel has columns that differ in one "
    "field and the seed alone, a line for each; lines of one colour are seeds. Of each field, the "
    f"groups with the most values are shown, at most {MOST_OF_A_FIELD}, and at most {MOST_LINES} "
    "values of each."
)

FlowSharpness = Mapping[float, float]
"""s_gf of a column by ε."""


@dataclass(frozen=True)
class Panel:
    """Columns that differ in one field, and its values that are drawn; None for seeds alone."""

    field: str | None
    columns: tuple[Column, ...]
    values: tuple[Any, ...]
    fixed: str = ""
    """What the columns have in the other fields that vary."""

    def value(self, column: Column) -> Any:
        """What a column has in the field."""
        return None if self.field is None else column[self.field]


def sharpness_by_threshold(tables: Tables) -> Iterator[ReportFigure]:
    """One figure of all columns whose flow reached at least two thresholds."""
    several = {name: line for name, line in tables.flows.items() if len(line) > 1}
    columns = [column for column in tables.columns if column["column_id"] in several]
    if not columns:
        return
    panels = chosen_panels(columns)
    yield ReportFigure(
        "sharpness-by-threshold",
        _TITLE,
        _CAPTION,
        _alternative(panels, several),
        sharpness_by_threshold_figure(panels, several),
    )


def chosen_panels(columns: Sequence[Column]) -> list[Panel]:
    """Of each field that varies by itself, the groups with the most values."""
    panels = []
    for field in FIELDS:
        free = {field, "seed", *({"base_width"} if field == "parameterization" else set())}
        apart = [name for name in varying(columns) if name != field]
        found = [(values(group, field), group) for group in groups(columns, free)]
        found = sorted((one for one in found if len(one[0]) > 1), key=lambda one: -len(one[0]))
        for rank, (its_values, group) in enumerate(found[:MOST_OF_A_FIELD]):
            shown = tuple(_spread(its_values, MOST_LINES))
            panels.append((rank, Panel(field, tuple(group), shown, _named(group[0], apart))))
    if not panels:
        return [Panel(None, tuple(columns), (None,))]
    # The first of each field, then the second ones, and these in the order of the fields.
    kept = sorted(range(len(panels)), key=lambda number: panels[number][0])[:MOST_PANELS]
    return [panels[number][1] for number in sorted(kept)]


def sharpness_by_threshold_figure(
    panels: Sequence[Panel], flows: Mapping[str, FlowSharpness]
) -> Figure:
    """Draw the panels, with the line of each column."""
    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    size = (5.6, 4.2) if len(panels) == 1 else (_PANEL[0] * across, _PANEL[1] * down)
    figure = drawing.sheet(size, _TITLE, w_pad=0.08)
    grid = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, flows)
    for axes in grid[len(panels) :]:
        axes.remove()
    if len(panels) == 1:
        _add_rates(grid[0])
    return figure


def _draw(axes: Axes, panel: Panel, flows: Mapping[str, FlowSharpness]) -> None:
    drawing.set_up_panel(axes, r"$s_\mathrm{gf}$")
    line: dict[str, Any] = {"markersize": 4}
    styles = (
        [{"color": INK, "marker": "o"}] if panel.field is None else drawing.styles_of(panel.values)
    )
    by_value = dict(zip(panel.values, styles, strict=True))
    drawn = [column for column in panel.columns if panel.value(column) in by_value]
    for column in drawn:
        its_flow = flows[column["column_id"]]
        style = {**by_value[panel.value(column)], **line, "linewidth": 1}
        axes.plot(list(its_flow), list(its_flow.values()), **style)
    _lay_out(axes, [flows[column["column_id"]] for column in drawn])
    if panel.field is None:
        return
    heading = f"by {field_name(panel.field)}\n{panel.fixed}".strip()
    axes.set_title(heading, fontsize=SMALL, parse_math=False)
    axes.legend(
        handles=[
            drawing.key(without_math(shortened(value, MOST_IN_LEGEND)), **style, **line)
            for value, style in by_value.items()
        ],
        fontsize=SMALL,
        frameon=False,
        labelspacing=0.3,
        handlelength=1.3,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.03),
        borderaxespad=0.1,
    )


def _lay_out(axes: Axes, drawn: Sequence[FlowSharpness]) -> None:
    """Both axes logarithmic, ε falling to the right, with a tick at each threshold."""
    thresholds = sorted({epsilon for line in drawn for epsilon in line})
    sharpnesses = [sharpness for line in drawn for sharpness in line.values()]
    low, high = thresholds[0] / 1.15, thresholds[-1] * 1.15
    drawing.set_log_axis(axes, "x", low, high)
    axes.invert_xaxis()
    ticks = _spread(thresholds, _MOST_TICKS)
    axes.set_xticks(ticks, [f"{epsilon:g}" for epsilon in ticks])
    drawing.set_log_axis(axes, "y", min(sharpnesses) / 1.12, max(sharpnesses) * 1.12)
    axes.set_xlabel(r"loss threshold  $\varepsilon$", fontsize=TEXT)


def _add_rates(axes: Axes) -> None:
    """The axis of η_c = 2/s_gf on the right."""
    low, high = axes.get_ylim()
    right = axes.secondary_yaxis("right", functions=(_inverse, _inverse))
    right.set_ylabel(r"$\eta_c = 2/s_\mathrm{gf}$", fontsize=TEXT)
    right.tick_params(labelsize=SMALL)
    drawing.set_log_ticks(right.yaxis, 2 / high, 2 / low, axes)


def _inverse(value: Any) -> Any:
    with np.errstate(divide="ignore"):
        return 2 / np.asarray(value, dtype=np.float64)


def _named(column: Column, fields: Sequence[str]) -> str:
    """The values of some fields in a few lines; those that are numbers with their names."""
    words = [
        value_of(field, column[field])
        if isinstance(column[field], (int, float))
        else shortened(column[field], MOST_IN_LEGEND)
        for field in fields
    ]
    # Lines are never broken at the unbreakable spaces within a value.
    unbroken = ", ".join(word.replace(" ", "\u00a0") for word in words)
    return textwrap.fill(unbroken, _ACROSS_A_PANEL).replace("\u00a0", " ")


def _spread(all_values: list[Any], most: int) -> list[Any]:
    """At most ``most`` values, evenly, with both ends."""
    if len(all_values) <= most:
        return all_values
    step = (len(all_values) - 1) / (most - 1)
    return [all_values[round(number * step)] for number in range(most)]


def _alternative(panels: Sequence[Panel], flows: Mapping[str, FlowSharpness]) -> str:
    sharpnesses = [
        sharpness
        for panel in panels
        for column in panel.columns
        for sharpness in flows[column["column_id"]].values()
    ]
    fields = ", ".join(dict.fromkeys(field_name(panel.field) for panel in panels if panel.field))
    return (
        f"The flow's largest sharpness against the loss threshold, {len(panels)} panels"
        f"{f' by {fields}' if fields else ''}; it is from {min(sharpnesses):.4g} to "
        f"{max(sharpnesses):.4g}."
    )
