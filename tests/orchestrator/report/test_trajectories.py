"""Runs in time: which are drawn, that the lines are the tables', that no oscillation is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.report.figures.trajectories import chosen_trials, thinned, trajectories

STEPS = 40


def steps(row: dict[str, Any], count: int = STEPS) -> list[dict[str, Any]]:
    """A trajectory whose numbers are of the step and the learning rate alone."""
    eta = row["eta"] or 0.01
    return [
        {
            "trial_id": f"{row['column_id']}-{row['kind']}-{row['eta']}",
            "column_id": row["column_id"],
            "step": step,
            "time": step * eta,
            "train_loss": 0.5**step,
            "sharpness": 2 / eta + step,
            "l1_norm": 5.0 + step,
        }
        for step in range(count)
    ]


@pytest.fixture
def around(column):
    """η_c is 0.1; GD at 0.5, 0.9, 1.2, 2 and 8 η_c."""
    return column(etas=(0.05, 0.09, 0.12, 0.2, 0.8), epsilons=(0.1,))


def test_the_runs_nearest_to_chosen_ratios_are_drawn_and_no_others(around) -> None:
    assert [row["eta"] for row in chosen_trials(around)] == [None, 0.05, 0.09, 0.12, 0.2]


def test_a_run_above_eta_c_does_not_stand_for_one_below(column) -> None:
    rows = column(etas=(0.102,), epsilons=(0.1,), flow=False)
    assert [row["eta"] for row in chosen_trials(rows)] == [0.102]
    assert chosen_trials(column(etas=(0.1,), eta_c=None)) == []


def test_only_runs_that_reached_the_threshold_are_drawn(column) -> None:
    rows = column(etas=(0.05, 0.2), epsilons=(0.1,), flow=False, status="diverged")
    assert chosen_trials(rows) == []


def test_the_lines_are_those_of_the_tables(run, around) -> None:
    run.add(around)
    run.add([step for row in around for step in steps(row)], "trajectories")
    (drawn,) = trajectories(run.tables())
    loss, sharpness, ratio, norm = drawn.figure.axes
    assert len(loss.lines) == len(norm.lines) == 5  # with the flow
    for line, eta in zip(loss.lines[1:], (0.05, 0.09, 0.12, 0.2), strict=True):
        assert np.array_equal(line.get_xdata(), eta * np.arange(STEPS))
        assert np.array_equal(line.get_ydata(), 0.5 ** np.arange(STEPS))
    levels = [line.get_ydata()[0] for line in sharpness.lines[5:]]
    assert set(levels) <= {2 / eta for eta in (0.05, 0.09, 0.12, 0.2)}
    for line, eta in zip(ratio.lines[:4], (0.05, 0.09, 0.12, 0.2), strict=True):
        assert line.get_ydata() == pytest.approx(1 + np.arange(STEPS) * eta / 2)
    assert list(ratio.lines[4].get_ydata()) == [1, 1]
    assert drawn.name == "trajectories-c0ffee"
    assert "0.5, 0.9, 1.2, 2 η_c" in drawn.alternative


def test_a_run_that_is_excluded_ends_hollow_and_the_legend_says_why(run, around) -> None:
    around[-2]["sharpness"] = 1.6 * 2 / 0.2
    run.add(around)
    run.add([step for row in around for step in steps(row)], "trajectories")
    (drawn,) = trajectories(run.tables())
    for axes in drawn.figure.axes:
        (end,) = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        assert list(end.get_xdata()) == [(STEPS - 1) * 0.2]
    shown = [text.get_text() for text in drawn.figure.legends[0].get_texts()]
    assert shown[-1] == "excluded (chance crossing)"


def test_a_step_that_was_not_measured_is_left_out(run, around) -> None:
    run.add(around)
    rows = [step for row in around for step in steps(row)]
    for row in rows:
        row["sharpness"] = row["sharpness"] if row["step"] % 10 == 0 else None
    run.add(rows, "trajectories")
    (drawn,) = trajectories(run.tables())
    loss, sharpness = drawn.figure.axes[:2]
    assert len(sharpness.lines[1].get_xdata()) == 4
    assert len(loss.lines[1].get_xdata()) == STEPS


def test_runs_of_very_different_lengths_share_a_logarithmic_time(run, around) -> None:
    run.add(around)
    for row in around:
        run.add(steps(row, 400 if row["eta"] == 0.12 else 5), "trajectories")
    (drawn,) = trajectories(run.tables())
    assert {axes.get_xscale() for axes in drawn.figure.axes} == {"symlog"}


def test_without_trajectories_nothing_is_drawn(run, around) -> None:
    run.add(around)
    assert "no trial near η_c has a trajectory" in run.missing("trajectories")


def test_thinning_keeps_the_outline_of_an_oscillation() -> None:
    x = np.arange(100_001.0)
    y = np.where(x % 2 == 0, 1.0, -1.0) * (1 + x / 1e5)
    few_x, few_y = thinned(x, y, 1000)
    assert len(few_x) <= 1000
    assert (few_x[0], few_x[-1]) == (0, 100_000)
    # Both envelopes are there to within a stretch of 200 steps.
    at = np.linspace(1000, 99_000, 50)
    for sign in (1, -1):
        side = few_y * sign > 0
        assert np.interp(at, few_x[side], few_y[side]) == pytest.approx(
            sign * (1 + at / 1e5), abs=3e-3
        )


def test_thinning_leaves_short_lines_and_drops_what_is_not_a_number() -> None:
    x, y = np.arange(5.0), np.array([1, np.nan, 3, np.inf, 5])
    assert [list(part) for part in thinned(x, y)] == [[0, 2, 4], [1, 3, 5]]
    assert [len(part) for part in thinned(x[:0], y[:0])] == [0, 0]
