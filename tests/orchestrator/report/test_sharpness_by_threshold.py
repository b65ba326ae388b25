"""s_gf against ε: the lines are the flows, the panels the fields that vary by themselves."""

from __future__ import annotations

import pytest

from orchestrator.report.figures.sharpness_by_threshold import (
    MOST_LINES,
    MOST_OF_A_FIELD,
    MOST_PANELS,
    chosen_panels,
    sharpness_by_threshold,
)


def flow(column, column_id: str, **values):
    return column(etas=(), column_id=column_id, **values)


def lines(axes) -> list[list[tuple[float, float]]]:
    return [list(zip(*line.get_data(), strict=True)) for line in axes.lines]


def test_one_column_has_one_line_and_an_axis_of_eta_c(run, column) -> None:
    run.add(flow(column, "one"))
    (drawn,) = sharpness_by_threshold(run.tables())
    (axes,) = drawn.figure.axes
    assert lines(axes) == [[(0.1, 20), (0.02, 100)]]
    low, high = axes.get_xlim()
    assert low > high  # training goes on to the right
    (right,) = axes.child_axes
    drawn.figure.draw_without_rendering()
    for sharpness in (20, 100):
        _, height = axes.transData.transform((0.1, sharpness))
        assert right.transData.transform((0, 2 / sharpness))[1] == pytest.approx(height)


def test_each_field_that_varies_by_itself_has_its_panel(run, column) -> None:
    run.add(flow(column, "base"))
    run.add(flow(column, "wide", width=128, s_gf=7.0))
    run.add(flow(column, "deep", depth=3))
    run.add(flow(column, "seed", seed=1))
    run.add(flow(column, "both", width=256, depth=4))
    (drawn,) = sharpness_by_threshold(run.tables())
    width, depth = drawn.figure.axes
    assert (width.get_title(), depth.get_title()) == ("by width\ndepth 2", "by depth\nwidth 64")
    assert lines(width)[-1] == [(0.1, 7), (0.02, 7)]
    assert len(lines(width)) == len(lines(depth)) == 3
    assert [text.get_text() for text in width.get_legend().get_texts()] == ["64", "128"]


def test_panels_of_one_field_say_what_sets_them_apart(run, column) -> None:
    for name in ("mup", "ntk"):
        for width in (16, 32):
            run.add(flow(column, f"{name}{width}", width=width, parameterization=name))
    titles = [panel.get_title() for panel in next(sharpness_by_threshold(run.tables())).figure.axes]
    assert titles[:2] == ["by width\nmup", "by width\nntk"]
    assert titles[2:] == ["by parameterization\nwidth 16", "by parameterization\nwidth 32"]


def test_columns_that_differ_in_several_fields_share_a_panel(run, column) -> None:
    run.add(flow(column, "a"))
    run.add(flow(column, "b", width=128, depth=3))
    (drawn,) = sharpness_by_threshold(run.tables())
    (axes,) = drawn.figure.axes
    assert len(lines(axes)) == 2


def test_of_many_columns_there_are_few_panels_and_lines(run, column) -> None:
    for width in range(12):
        for depth in range(1, 6):
            run.add(flow(column, f"{width}-{depth}", width=16 * (width + 1), depth=depth))
    panels = chosen_panels(run.tables().columns)
    assert [panel.field for panel in panels] == ["width"] * 3 + ["depth"] * 3
    assert len(panels) <= MOST_PANELS
    assert MOST_OF_A_FIELD == 3
    for panel in panels[:3]:
        assert len(panel.values) == MOST_LINES
        assert (panel.values[0], panel.values[-1]) == (16, 192)


def test_one_threshold_is_no_dependence(run, column) -> None:
    run.add(flow(column, "one", epsilons=(0.1,)))
    assert "no flow reached two thresholds" in run.missing("sharpness-by-threshold")
