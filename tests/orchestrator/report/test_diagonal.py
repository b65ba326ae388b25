"""The figure of diagonal networks: what it holds, its files, and what is not drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from jobs.diagonal import PlaneSweep, sweep_plane
from orchestrator.report import diagonal_figure, draw_diagonal
from orchestrator.store import StoreError


@pytest.fixture(scope="module")
def sweep() -> PlaneSweep:
    return sweep_plane(rates=np.linspace(0.03, 0.37, 120), max_steps=2_000)


@pytest.fixture(scope="module")
def figure(sweep) -> Figure:
    return diagonal_figure(sweep)


def points_of(axes) -> list[np.ndarray]:
    """What is drawn as points in a panel: (η, value), the series in the order of drawing."""
    lines = [line for line in axes.lines if line.get_rasterized() and line.get_marker() == "o"]
    return [line.get_xydata() for line in lines]


def test_the_points_are_the_runs_and_the_line_is_theory(sweep, figure) -> None:
    _, curvature, norms, risks, _ = figure.axes
    runs, stable = sweep.runs, sweep.stable
    assert stable.sum() > 50
    for axes, values in ((curvature, runs.sharpness), (risks, runs.risk(sweep.truth))):
        accidents, found = points_of(axes)
        assert np.array_equal(found, np.column_stack([runs.learning_rates, values])[stable])
        assert len(accidents) == (runs.reached() & ~stable).sum()
    assert np.array_equal(points_of(norms)[1][:, 1], runs.l1_norm[stable])
    assert np.array_equal(points_of(norms)[3][:, 1], runs.l2_norm[stable])
    theory = next(line for line in risks.lines if line.get_linestyle() == "--")
    eta, value = theory.get_xydata().T
    assert eta[value.argmin()] == pytest.approx(0.2, abs=1e-3)
    assert value[-1] == pytest.approx(1.25)


def test_the_rates_of_theory_are_named_in_every_panel_that_has_eta(sweep, figure) -> None:
    for axes in figure.axes[1:4]:
        named = {text.get_text(): text.xy[0] for text in axes.texts}
        assert named == {
            r"$\eta_c$": sweep.critical_rate,
            r"$\eta^*$": pytest.approx(0.2),
            r"$\eta_\mathrm{max}$": pytest.approx(1 / 3),
        }


def test_runs_without_a_solution_have_marks_and_no_point(sweep, figure) -> None:
    curvature = figure.axes[1]
    marks = {line.get_marker(): len(line.get_xdata()) for line in curvature.lines}
    assert marks["|"] == (sweep.runs.status == "max_steps").sum() > 0
    assert marks["x"] == (sweep.runs.status == "diverged").sum() > 0


def test_theory_says_where_gd_ends(sweep) -> None:
    runs, eta_c = sweep.runs, sweep.critical_rate
    calm = sweep.stable & (runs.learning_rates < 1.5 * eta_c)
    predicted = sweep.predicted(runs.learning_rates[calm])
    # Below η_c GD drifts from the flow with η; above it S is up to 3 % below 2/η.
    assert runs.predictors[calm] == pytest.approx(predicted, abs=0.06)
    assert sweep.point.sharpness(predicted) == pytest.approx(
        np.minimum(2 / runs.learning_rates[calm], sweep.flow.max_sharpness())
    )


def test_the_files_are_whole_the_same_again_and_small(sweep, tmp_path) -> None:
    paths = draw_diagonal(tmp_path / "figures", sweep)
    assert [path.name for path in paths] == ["diagonal.png", "diagonal.svg"]
    before = [path.read_bytes() for path in paths]
    assert imread(io.BytesIO(before[0])).shape == (858, 1100, 4)
    assert b"<svg" in before[1][:1000]
    assert len(before[0]) < 200_000
    assert [path.read_bytes() for path in draw_diagonal(tmp_path / "figures", sweep)] == before
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "diagonal.png",
        "diagonal.svg",
    ]


def test_a_place_that_is_a_file_is_named(sweep, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        draw_diagonal(tmp_path / "file", sweep)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [
        {"x": (1.0, 3.0), "truth": (0.2, 0.1)},
        {"truth": (0.0, 1.5)},
        {"rates": [0.1]},
        {"rates": [0.5, 0.6]},
        {"rates": [0.1, 0.2], "max_steps": 1},
        {"start": (1.0, 0.3), "epsilon": 2.5e-3},
    ],
    ids=["other x", "sparse truth", "one run", "all diverge", "all short", "other start"],
)
def test_other_examples_are_drawn(changes) -> None:
    changes = {"rates": np.linspace(0.05, 0.4, 20), "max_steps": 300, **changes}
    figure = diagonal_figure(sweep_plane(**changes))
    figure.savefig(io.BytesIO(), format="png", dpi=50)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x": (1.0, 1.0)}, r"x is \[1.0, 1.0\]; it must be two different positive numbers"),
        ({"x": (1.0, -1.0)}, "two different positive numbers"),
        ({"truth": (0.5, -0.5)}, "truth is .* neither negative"),
    ],
)
def test_what_is_no_segment_is_refused(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        sweep_plane(**changes)
