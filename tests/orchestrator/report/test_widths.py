"""Widths overlaid: a row of panels for each parameterization, a colour for each width."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orchestrator.report.figures.widths import widths


def add(run, column, name: str, width: int, seed: int = 0, **values) -> list:
    rows = column(
        column_id=f"{name}{width}{seed}", parameterization=name, width=width, seed=seed, **values
    )
    run.add(rows)
    return rows


def curves(axes) -> list:
    """The lines of columns, without those of theory."""
    return [line for line in axes.lines if len(line.get_xdata()) == 5]


def test_the_lines_are_the_columns_by_parameterization_and_width(run, column) -> None:
    for name in ("mup", "standard"):
        for width in (16, 32):
            for seed in (0, 1):
                rows = add(run, column, name, width, seed, base_width=16 if name == "mup" else None)
    (drawn,) = widths(run.tables())
    panels = drawn.figure.axes
    assert [axes.get_title() for axes in panels[::2]] == ["standard", "mup (base width 16)"]
    gd = [row for row in rows if row["epsilon"] == 0.02 and row["kind"] == "gd"]
    for axes in panels:
        assert len(curves(axes)) == 4
        assert len({line.get_color() for line in curves(axes)}) == 2
    for line in curves(panels[0]):
        assert np.array_equal(line.get_xydata(), [(row["eta"], row["sharpness"]) for row in gd])
    for line in curves(panels[1]):
        assert list(line.get_ydata()) == pytest.approx([row["l1_norm"] / 50 for row in gd])
    for axes in panels:
        critical = [line for line in axes.lines if list(line.get_xdata()) == [0.02, 0.02]]
        assert {line.get_color() for line in critical} == {x.get_color() for x in curves(axes)}
    assert "widths 16, 32, η_c from 0.02 to 0.02" in drawn.alternative


def test_the_base_width_is_drawn_under_every_parameterization(run, column) -> None:
    for width in (16, 32):
        add(run, column, "standard", width)
    for width in (32, 64):
        add(run, column, "mup", width, base_width=16)
    (drawn,) = widths(run.tables())
    assert "standard: widths 16, 32" in drawn.alternative
    assert "mup (base width 16): widths 16, 32, 64" in drawn.alternative


def test_the_threshold_is_one_that_most_columns_reached(run, column) -> None:
    add(run, column, "standard", 16)
    add(run, column, "standard", 32, epsilons=(0.1,))
    (drawn,) = widths(run.tables())
    assert "ε = 0.1" in drawn.figure.get_suptitle()


def test_other_problems_have_other_figures(run, column) -> None:
    for depth in (2, 3):
        for width in (16, 32):
            rows = column(column_id=f"{depth}-{width}", depth=depth, width=width)
            run.add(rows)
    assert {drawn.name for drawn in widths(run.tables())} == {"widths-2-16", "widths-3-16"}


def test_excluded_runs_are_hollow_and_those_without_an_end_marks_along_the_frame(
    run, column
) -> None:
    for width in (16, 32):
        rows = column(column_id=f"w{width}", width=width, epsilons=(0.02,))
        rows[-1] |= {"sharpness": 1.6 * 2 / 0.4} if width == 16 else {"status": "diverged"}
        run.add(rows)
    (drawn,) = widths(run.tables())
    sharpness, norm = drawn.figure.axes
    for axes in (sharpness, norm):
        (hollow,) = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        assert list(hollow.get_xdata()) == [0.4]
        assert axes.get_xlim()[1] > 0.4
    (cross,) = [line for line in sharpness.lines if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == [0.4]
    shown = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert {"excluded (chance crossing)", "diverged"} <= set(shown)


def test_labels_of_neighbouring_ticks_do_not_overlap(run, column) -> None:
    for width in (16, 32):
        add(run, column, "standard", width, etas=np.geomspace(0.042, 0.85, 5).tolist())
    (drawn,) = widths(run.tables())
    drawn.figure.draw_without_rendering()
    for axes in drawn.figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 3
        for left, right in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)):
            assert left.x1 < right.x0


def test_one_width_is_no_overlay(run, column) -> None:
    add(run, column, "standard", 16)
    add(run, column, "mup", 32)
    assert "no columns differ in width alone" in run.missing("widths")
