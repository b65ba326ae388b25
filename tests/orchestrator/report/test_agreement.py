"""Predicted against fitted η_c: the points are the analysis, and so are the numbers above them."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.analysis import analyze, compute
from orchestrator.report.figures.agreement import agreement, agreement_figure, chosen_points

ETAS = (0.02, 0.03, 0.08, 0.15, 0.3, 0.6)

COLUMN = {
    "dataset": "digits",
    "n_train": 10,
    "architecture": "fcn",
    "depth": 2,
    "width": 8,
    "activation": "tanh",
    "loss": "mse",
    "parameterization": "standard",
    "weight_decay": None,
    "optimizer": "gd",
    "momentum": None,
    "beta2": None,
    "damping": None,
    "start": None,
    "init_scale": 1.0,
    "seed": 0,
}


def column_of(column_id: str, **values):
    return {**COLUMN, "column_id": column_id, **values}


def phase(column_id: str, predicted, fitted, **values):
    """A row of ``phase``."""
    return {
        **{"column_id": column_id, "epsilon": 0.1, "eta_c": predicted, "eta_c_fitted": fitted},
        **{"eta_c_fitted_low": None, "eta_c_fitted_high": None, "flow_sharpness": None, **values},
    }


def clouds(axes) -> dict[str, list[tuple[float, float]]]:
    """The points of a panel by marker and face."""
    return {
        f"{line.get_marker()} {line.get_markerfacecolor()}": list(
            zip(*line.get_data(), strict=True)
        )
        for line in axes.lines
        if line.get_linestyle() == "None" and len(line.get_xdata())
    }


def test_points_are_the_columns_at_which_both_are_known() -> None:
    columns = [column_of("a"), column_of("b")]
    known = [
        phase("a", 0.1, 0.11),
        phase("a", None, 0.1),
        phase("b", 0.2, None),
        phase("b", 0.2, 0.2, epsilon=0.02),
        phase("gone", 0.1, 0.1),
    ]
    found = [(point.column["column_id"], point.epsilon) for point in chosen_points(columns, known)]
    assert found == [("a", 0.1), ("b", 0.02)]


def test_the_panels_hold_the_rates_and_their_ratios_with_their_bounds() -> None:
    columns = [column_of("a"), column_of("b", loss="ce")]
    rates = {"a": (0.1, 0.11), "b": (0.2, 0.19)}
    known = [
        phase(name, *its, eta_c_fitted_low=its[1] * 0.9, eta_c_fitted_high=its[1] * 1.2)
        for name, its in rates.items()
    ]
    both, ratio = agreement_figure(chosen_points(columns, known)).axes
    assert sorted(point for cloud in clouds(both).values() for point in cloud) == [
        (0.1, 0.11),
        (0.2, 0.19),
    ]
    found = sorted(point for cloud in clouds(ratio).values() for point in cloud)
    assert np.array(found) == pytest.approx(np.array([(0.1, 1.1), (0.2, 0.95)]))
    bars = [segment for bar in both.collections for segment in bar.get_segments()]
    assert np.array(bars)[:, :, 1] == pytest.approx(np.array([(0.171, 0.228), (0.099, 0.132)]))
    equal = next(line for line in both.lines if line.get_linestyle() == "--")
    assert list(equal.get_xdata()) == list(equal.get_ydata())


def test_a_field_that_varies_gives_the_colours() -> None:
    columns = [column_of("a"), column_of("b", loss="ce"), column_of("c", n_train=20)]
    figure = agreement_figure(chosen_points(columns, [phase(n, 0.1, 0.1) for n in "abc"]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["loss ce", "loss mse", "equal", "median ratio"]


def test_a_flow_that_was_sharper_before_the_threshold_is_half_filled() -> None:
    columns = [column_of("a"), column_of("b")]
    known = [phase("a", 0.1, 0.1, flow_sharpness=20.0), phase("b", 0.2, 0.3, flow_sharpness=7.0)]
    figure = agreement_figure(chosen_points(columns, known))
    (half,) = [
        line
        for line in figure.axes[0].lines
        if line.get_fillstyle() == "left" and len(line.get_xdata())
    ]
    assert list(zip(*half.get_data(), strict=True)) == [(0.2, 0.3)]
    assert "1.000 of 1 whose flow is sharpest at ε" in figure.get_suptitle()


def test_the_summary_has_the_slope_of_many_points() -> None:
    predicted = np.geomspace(0.01, 1, 9)
    columns = [column_of(str(n)) for n in range(9)]
    known = [phase(str(n), rate, 2 * rate**0.9) for n, rate in enumerate(predicted)]
    title = agreement_figure(chosen_points(columns, known)).get_suptitle()
    assert "slope of log fitted on log predicted: 0.900" in title
    assert f"median {2 * predicted[4] ** -0.1:.3f} of 9" in title


def test_a_run_is_analysed_without_being_written_to(run, column) -> None:
    for seed, epsilon in enumerate((0.1, 0.05)):
        run.add(column(column_id=f"s{seed}", seed=seed, epsilons=(epsilon,), etas=ETAS))
    (drawn,) = agreement(run.tables())
    found = sorted(point for cloud in clouds(drawn.figure.axes[0]).values() for point in cloud)
    assert np.array(found) == pytest.approx(np.array([(0.05, 0.05), (0.1, 0.1)]), rel=1e-3)
    assert not (run.path / "analysis").exists()
    assert "median" in drawn.alternative


def test_the_analysis_counts_until_trials_came_since(run, column, monkeypatch) -> None:
    run.add(column())
    computed = run.tables().phases
    analyze(run.path)
    calls: list[object] = []

    def counted(run):
        calls.append(run)
        return compute(run)

    monkeypatch.setattr("orchestrator.report.tables.compute", counted)
    assert run.tables().phases == computed
    assert calls == []
    run.add(column(column_id="later"))
    assert run.tables().phases.keys() > computed.keys()
    assert calls == [run.path]


def test_one_point_is_no_agreement(run, column) -> None:
    run.add(column(epsilons=(0.1,), etas=ETAS))
    assert "fewer than two fitted η_c are known" in run.missing("agreement")
