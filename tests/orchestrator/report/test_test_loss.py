"""Test loss over seeds: every seed's line, their median, its lowest point, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.report.figures.test_loss import medians
from orchestrator.report.figures.test_loss import test_loss as draw

ETAS = (0.05, 0.1, 0.2)


def seed(column, number: int, loss: float, **values):
    """GD whose test loss is ``loss`` + η; η_c is 0.1."""
    rows = column(etas=ETAS, epsilons=(0.1,), column_id=f"s{number}", seed=number, **values)
    return [{**row, "test_loss": loss + (row["eta"] or 0)} for row in rows]


def points(line) -> np.ndarray:
    return np.column_stack(line.get_data())


def test_each_seed_is_a_line_and_their_median_another(run, column) -> None:
    for number, loss in enumerate((0.1, 0.2, 0.6)):
        run.add(seed(column, number, loss))
    (drawn,) = draw(run.tables())
    (axes,) = drawn.figure.axes
    first, second, third, median, best, flow, critical = axes.lines
    for line, loss in zip((first, second, third), (0.1, 0.2, 0.6), strict=True):
        assert points(line) == pytest.approx(
            np.array([(eta / 0.1, loss + eta) for eta in ETAS]), rel=1e-12
        )
    assert points(median) == pytest.approx(np.array([(eta / 0.1, 0.2 + eta) for eta in ETAS]))
    assert points(best) == pytest.approx(np.array([(0.5, 0.25)]))
    assert list(flow.get_ydata()) == [0.2, 0.2]
    assert list(critical.get_xdata()) == [1, 1]
    assert drawn.name == "test-loss-s0"
    assert "seeds 0, 1, 2" in drawn.title
    assert "0.25 at 0.5 η_c for ε = 0.1" in drawn.alternative


def test_seeds_with_other_ratios_have_a_median_where_they_overlap() -> None:
    first = [(0.5, 1.0), (1.0, 2.0), (2.0, 3.0)]  # 2 + log2 of the ratio
    second = [(0.7, 4.0), (1.4, 5.0), (2.8, 6.0)]
    found = medians([first, second])
    assert [ratio for ratio, _ in found] == [1.0, 2.0]
    assert [value for _, value in found] == pytest.approx(
        [(2 + 4 + np.log2(1 / 0.7)) / 2, (3 + 4 + np.log2(2 / 0.7)) / 2]
    )
    assert medians([]) == []


def test_accuracy_has_a_panel_where_it_was_measured(run, column) -> None:
    run.add(seed(column, 0, 0.1, test_accuracy=0.9))
    (drawn,) = draw(run.tables())
    _, accuracy = drawn.figure.axes
    assert list(accuracy.lines[0].get_ydata()) == [0.9, 0.9, 0.9]


def test_other_problems_have_other_figures(run, column) -> None:
    run.add(seed(column, 0, 0.1))
    run.add(seed(column, 1, 0.1, width=128))
    assert [drawn.name for drawn in draw(run.tables())] == [
        "test-loss-s0",
        "test-loss-s1",
    ]


def test_excluded_runs_are_hollow_and_on_no_line(run, column) -> None:
    for number in range(2):
        rows = seed(column, number, 0.1)
        rows[-1]["sharpness"] = 1.6 * 2 / rows[-1]["eta"]
        rows[-1]["test_loss"] = 0.0
        rows[1] |= {"status": "max_steps"} if number else {}
        run.add(rows)
    (drawn,) = draw(run.tables())
    (axes,) = drawn.figure.axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [points(line).tolist() for line in hollow] == [[[2.0, 0.0]]] * 2
    assert list(axes.lines[0].get_xdata()) == pytest.approx([0.5, 1])
    (stroke,) = [line for line in axes.lines if line.get_marker() == "|"]
    assert list(stroke.get_xdata()) == pytest.approx([0.5])
    shown = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert shown[1:] == [
        *("a seed", "median over seeds", "gradient flow", "lowest test loss"),
        *(r"$\eta = \eta_c$", "excluded (chance crossing)", r"stopped short of $\varepsilon$"),
    ]


@pytest.mark.parametrize("values", [{"eta_c": None}, {"status": "diverged"}, {"sharpness": None}])
def test_without_rates_or_losses_nothing_is_drawn(run, column, values) -> None:
    run.add(column(**values))
    assert "no trial has both an η_c and a test loss" in run.missing("test-loss")
