"""Trials on both sides of η_c in time: training loss, sharpness, S·η/2 and norm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.spec import GD
from orchestrator.report import drawing, markers
from orchestrator.report.drawing import INK, TEXT, key
from orchestrator.report.labels import in_one_line, title
from orchestrator.report.places import EXCLUDED, Row, critical_rate, ratio
from orchestrator.report.report_figure import ReportFigure
from orchestrator.report.tables import Array, Tables, Trajectory

AROUND = (0.5, 0.9, 1.1, 1.5, 2.0, 3.0)
"""In units of η_c: the trials nearest to these are drawn."""

NEAR = 1.3
"""The most by which η may be off one of these, as a factor."""

MOST_POINTS = 2000
"""Of a line: more than a printed line can show."""

_INCHES = (9.5, 7.4)
_FEW = 60
"""Points of a line that is drawn with its points."""
_LONGER = 10.0
"""The longest trial over the shortest from which time is logarithmic, but for its beginning."""

_FLOW: dict[str, Any] = {"color": INK, **drawing.FLOW}
_END: dict[str, Any] = {"marker": "o", "markersize": 5.5, "zorder": 3, **markers.HOLLOW}
_LEVEL: dict[str, Any] = {"linestyle": (0, (5, 2.5)), "linewidth": 1.0}

_CAPTION = (
    "Gradient descent and the gradient flow in time (η · step for gradient descent), from the same "
    "start: training loss, sharpness S, S·η/2, norm ‖θ‖₁. Of the trials that reached the smallest "
    f"ε the nearest to {', '.join(f'{ratio:g}' for ratio in AROUND)} η_c are drawn. Dashed: 2/η of "
    "each trial, the edge of stability, which is S·η/2 = 1. Of long trials, the lowest and the "
    "highest value of every short stretch are drawn, so that no oscillation is lost. A hollow end: "
    "the trial is excluded from the analysis: a chance crossing (S far above 2/η), or its S there "
    "did not converge or was not measured."
)


@dataclass(frozen=True, eq=False)
class Path:
    """A trial in time, with its row at the smallest ε."""

    row: Row
    steps: Trajectory

    @property
    def eta(self) -> float | None:
        """The learning rate, None for the flow."""
        eta: float | None = self.row["eta"]
        return eta


def trajectories(tables: Tables) -> Iterator[ReportFigure]:
    """The trajectories around η_c of each column that has figures of its own."""
    tables.read(tables.shown)
    chosen = {one["column_id"]: chosen_trials(tables.trials(one)) for one in tables.shown}
    found = tables.trajectories([row["trial_id"] for rows in chosen.values() for row in rows])
    for column in tables.shown:
        rows = (row for row in chosen[column["column_id"]] if row["trial_id"] in found)
        paths = [Path(row, found[row["trial_id"]].in_gds_units(row)) for row in rows]
        if not any(path.eta is not None for path in paths):
            continue
        yield ReportFigure(
            f"trajectories-{column['column_id']}",
            f"Around η_c in time: {in_one_line(title(column))}",
            _CAPTION,
            _alternative(paths),
            trajectories_figure(paths, title(column)),
        )


def chosen_trials(rows: Sequence[Row]) -> list[Row]:
    """The rows of the trials that are drawn: the flow if it is there, then GD in ascending η."""
    critical = critical_rate(rows)
    if critical is None:
        return []
    epsilon, eta_c = critical
    there = [row for row in rows if row["epsilon"] == epsilon]
    flows = [row for row in there if row["kind"] == "flow"]
    descents = [
        row for row in there if row["kind"] == "gd" and row["status"] == "reached" and row["eta_c"]
    ]
    found: dict[float, Row] = {}
    for multiple in AROUND:
        wanted = multiple * eta_c
        nearest = min(descents, key=lambda row: _off(row["eta"], wanted), default=None)
        # What is drawn as above η_c must be above it.
        if (
            nearest is not None
            and (nearest["eta"] < eta_c) == (multiple < 1)
            and _off(nearest["eta"], wanted) <= math.log(NEAR)
        ):
            found[nearest["eta"]] = nearest
    return [*flows[:1], *(found[eta] for eta in sorted(found))]


def trajectories_figure(paths: Sequence[Path], title: str) -> Figure:
    """Draw trials in time, in four panels."""
    figure = drawing.sheet(_INCHES, title)
    (loss, sharpness), (scaled, norm) = figure.subplots(2, 2, sharex=True)
    descents = [path for path in paths if path.eta is not None]
    colors = dict(zip(map(id, descents), drawing.ordered_colors(len(descents)), strict=True))
    _lay_out_time([loss, sharpness, scaled, norm], paths)
    for path in paths:
        style = {"color": colors[id(path)], "linewidth": 1.2} if id(path) in colors else _FLOW
        steps = path.steps
        for axes, values in (
            (loss, steps.train_loss),
            (sharpness, steps.sharpness),
            (norm, steps.l1_norm),
            *([] if path.eta is None else [(scaled, steps.sharpness * path.eta / 2)]),
        ):
            _draw(axes, steps.time, values, style, excluded=path.row["exclusion"] in EXCLUDED)
    low, high = sharpness.get_ylim()
    for path in descents:
        if path.eta is not None and low < 2 / path.eta < high:
            sharpness.axhline(2 / path.eta, color=colors[id(path)], **_LEVEL)
    scaled.axhline(1, color=INK, **_LEVEL)
    plain = all(path.row["optimizer"] == GD.name for path in paths)
    for axes, label in (
        (loss, "training loss"),
        (sharpness, "sharpness  $S$" if plain else r"$2\chi\,/\,\eta$"),
        (scaled, r"$S\cdot\eta\,/\,2$" if plain else r"$\chi$"),
        (norm, r"norm  $\Vert\theta\Vert_1$"),
    ):
        drawing.set_up_panel(axes, label)
        drawing.widen_span(axes)
    if any(np.any(path.steps.train_loss > 0) for path in paths):
        loss.set_yscale("log")
        drawing.set_log_ticks(loss.yaxis, *loss.get_ylim())
    for axes in (scaled, norm):
        axes.set_xlabel(r"time  $\eta \cdot$ step" if plain else "time of the flow", fontsize=TEXT)
    handles = [key(rf"{ratio(path.row):.3g} $\eta_c$", color=colors[id(path)]) for path in descents]
    if len(descents) < len(paths):
        handles.append(key("gradient flow", **_FLOW))
    handles.append(key(drawing.EDGE_NAME, color=INK, **_LEVEL))
    handles += markers.legend((path.row for path in paths), frame=False)
    drawing.legend_below(figure, handles, 4)
    return figure


def thinned(x: Array, y: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """At most ``most`` points of a line with the same outline: ends, lows and highs of stretches.

    A line that goes up and down within a stretch would alias if every k-th point were kept.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), max(1, (most - 2) // 2) + 1).astype(int)
    kept = {0, len(x) - 1}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        kept |= {start + int(np.argmin(y[start:stop])), start + int(np.argmax(y[start:stop]))}
    indices = np.array(sorted(kept))
    return x[indices], y[indices]


def _off(eta: float, wanted: float) -> float:
    return abs(math.log(eta / wanted))


def _draw(
    axes: Axes, time: Array, values: Array, style: Mapping[str, Any], *, excluded: bool
) -> None:
    x, y = thinned(time, values)
    points: dict[str, Any] = {"marker": "o", "markersize": 2.5} if len(x) <= _FEW else {}
    axes.plot(x, y, **style, **points)
    if excluded and len(x):
        axes.plot(x[-1], y[-1], color=style["color"], **_END)


def _lay_out_time(panels: Sequence[Axes], paths: Sequence[Path]) -> None:
    """Linear time, or logarithmic from the first step where trials differ much in length."""
    ends = [float(path.steps.time[-1]) for path in paths]
    positive = [path.steps.time[path.steps.time > 0] for path in paths]
    starts = [float(times.min()) for times in positive if len(times)]
    if starts and max(ends) > _LONGER * min(end for end in ends if end > 0):
        for axes in panels:
            axes.set_xscale("symlog", linthresh=min(starts), linscale=0.4)
            axes.set_xlim(-0.1 * min(starts), max(ends) * 1.2)


def _alternative(paths: Sequence[Path]) -> str:
    ratios = ", ".join(f"{ratio(path.row):.3g}" for path in paths if path.eta is not None)
    return (
        "Four panels against time: training loss, sharpness, sharpness times η/2, and the norm "
        f"‖θ‖₁, for gradient descent at {ratios} η_c and the gradient flow where it was recorded."
    )
