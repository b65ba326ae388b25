"""The trade-off holds the solutions of the smallest threshold that was reached, by seed."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from orchestrator.report.figures.trade_off import trade_off


def test_the_points_are_the_solutions_at_the_smallest_threshold(run, column) -> None:
    rows = column()
    run.add(rows)
    (drawn,) = trade_off(run.tables())
    norm, loss, bar = drawn.figure.axes
    gd = [row for row in rows if row["epsilon"] == 0.02 and row["kind"] == "gd"]
    for axes, measure in ((norm, "l1_norm"), (loss, "test_loss")):
        (cloud,) = axes.collections
        assert np.array_equal(cloud.get_offsets(), [(r["sharpness"], r[measure]) for r in gd])
        assert list(cloud.get_array()) == pytest.approx([row["eta"] / 0.02 for row in gd])
        line, flow = axes.lines
        assert list(line.get_xdata()) == [row["sharpness"] for row in gd]
        assert list(flow.get_xdata()) == [100]
    assert bar.get_ylim() == pytest.approx((1, 20))
    assert r"$\varepsilon$ = 0.02" in loss.get_xlabel()
    assert drawn.name == "trade-off-c0ffee"


def test_every_seed_has_a_line_of_its_own(run, column) -> None:
    for seed in range(3):
        run.add(column(column_id=f"s{seed}", seed=seed, l1_norm=float(seed)))
    (drawn,) = trade_off(run.tables())
    lines = [line for line in drawn.figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert [set(line.get_ydata()) for line in lines] == [{0.0}, {1.0}, {2.0}]


def test_a_threshold_that_too_few_reached_gives_way_to_the_next(run, column) -> None:
    rows = column()
    for row in rows:
        if row["epsilon"] == 0.02 and row["eta"] != 0.1:
            row["status"] = "max_steps"
    run.add(rows)
    (drawn,) = trade_off(run.tables())
    assert r"$\varepsilon$ = 0.1" in drawn.figure.axes[1].get_xlabel()


def test_without_test_loss_there_is_one_panel(run, column) -> None:
    run.add(column(test_loss=None))
    (drawn,) = trade_off(run.tables())
    assert len(drawn.figure.axes) == 2  # with the bar of colours


def test_excluded_solutions_are_hollow_and_runs_without_one_are_counted(run, column) -> None:
    rows = column(epsilons=(0.02,))
    rows[3]["sharpness_converged"] = False
    rows[5]["status"] = "max_steps"
    run.add(rows)
    (drawn,) = trade_off(run.tables())
    for axes in drawn.figure.axes[:2]:
        settled, excluded = axes.collections
        assert list(settled.get_offsets()[:, 0]) == [100, 40, 10]
        assert list(excluded.get_offsets()[:, 0]) == [20]
        assert to_hex(excluded.get_facecolor()[0]) == "#ffffff"
        assert list(axes.lines[0].get_xdata()) == [100, 40, 10]
    shown = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert "excluded ($S$ not converged)" in shown
    assert "without a point: 1 stopped short of ε" in shown


def test_two_solutions_are_no_curve(run, column) -> None:
    run.add(column(etas=(0.1, 0.2)))
    assert "no column has 3 solutions" in run.missing("trade-off")
