"""The figure shows what the rows say, whatever the rows lack and whatever their strings hold."""

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orchestrator.analysis.recommendation import recommendations
from orchestrator.report import transition_figure
from orchestrator.report.drawing import cycle
from orchestrator.report.labels import title

FITTED = {
    "epsilon": 0.02,
    "eta_c_fitted": 0.021,
    "eta_c_fitted_low": 0.019,
    "eta_c_fitted_high": 0.023,
}
"""What a figure needs of a row of ``phase``."""


def rendered(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=50)
    return content.getvalue()


def data(line: Line2D) -> tuple[list[float], list[float]]:
    return list(line.get_xdata()), list(line.get_ydata())


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if str(line.get_label()).startswith(label)]


def marks(axes: Axes, marker: str) -> dict[str, list[float]]:
    """The η of the marks along the frame, by their colour."""
    found = [line for line in axes.get_lines() if line.get_marker() == marker]
    return {line.get_color(): list(line.get_xdata()) for line in found if len(line.get_xdata())}


def entries(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_panel_holds_its_measure_of_gd_against_eta(column) -> None:
    rows = column()
    figure = transition_figure(rows[::-1])
    panels = figure.axes[:3]
    for axes, measure in zip(panels, ("sharpness", "l1_norm", "test_loss"), strict=True):
        for epsilon in (0.1, 0.02):
            gd = [row for row in rows if row["epsilon"] == epsilon and row["kind"] == "gd"]
            (line,) = lines(axes, rf"$\varepsilon$ = {epsilon:g}")
            assert data(line) == ([r["eta"] for r in gd], [r[measure] for r in gd])


def test_what_was_recommended_lies_behind_the_points_and_is_in_the_legend(column) -> None:
    rows = column()
    probes = [{**row, "flow_id": "f", "trial_id": "p"} for row in column(etas=(0.05, 0.2))]
    figure = transition_figure(rows, recommended=recommendations(probes))
    named = r"recommended $\eta$ = 0.2 ($\varepsilon$ = 0.02)"
    assert {"from eos predict", named} <= set(entries(figure))
    for axes, measure in zip(figure.axes[:3], ("sharpness", "l1_norm", "test_loss"), strict=True):
        (line,) = lines(axes, "recommended")
        assert line.get_xdata() == [0.2, 0.2]
        wide = [one for one in axes.get_lines() if one.get_linewidth() == 6 and one is not line]
        for one, epsilon in zip(wide, (0.1, 0.02), strict=True):
            here = [row for row in probes if row["epsilon"] == epsilon]
            (flow,) = (row for row in here if row["kind"] == "flow")
            above = [row for row in here if row["kind"] == "gd" and row["eta"] > epsilon]
            etas, values = data(one)
            assert etas[1:] == [epsilon, *(row["eta"] for row in above)]
            assert values == [*2 * [flow[measure]], *(row[measure] for row in above)]
            drawn = lines(axes, rf"$\varepsilon$ = {epsilon:g}")
            assert all(one.get_zorder() < other.get_zorder() for other in drawn)
    plain = transition_figure(rows)
    assert not any("from eos predict" in text for text in entries(plain))


def test_the_flow_is_a_level_line_of_the_colour_of_its_threshold(column) -> None:
    figure = transition_figure(column())
    for axes, levels in zip(figure.axes, ([20, 100], [10, 50], [0.1, 0.02]), strict=False):
        flat = [line for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]
        assert [line.get_ydata()[0] for line in flat] == levels
        assert [line.get_color() for line in flat] == [cycle(0)["color"], cycle(1)["color"]]


def test_the_edge_of_stability_and_the_critical_rate_of_the_smallest_threshold(column) -> None:
    figure = transition_figure(column())
    (edge,) = lines(figure.axes[0], "edge of stability")
    eta, sharpness = (np.asarray(values) for values in data(edge))
    assert sharpness == pytest.approx(2 / eta)
    assert (eta[0], eta[-1]) == pytest.approx(figure.axes[0].get_xlim())
    for axes in figure.axes[:3]:
        (critical,) = lines(axes, r"$\eta_c = 2/s_{\mathrm{gf}}$ = 0.02")
        assert data(critical)[0] == [0.02, 0.02]


def test_the_fitted_critical_rate_is_a_line_with_its_bounds(column) -> None:
    figure = transition_figure(column(), FITTED)
    for axes in figure.axes[:3]:
        (fitted,) = lines(axes, r"$\eta_c$ fitted = 0.021")
        assert data(fitted)[0] == [0.021, 0.021]
        (band,) = axes.patches
        assert (band.get_x(), band.get_width()) == pytest.approx((0.019, 0.004))
    assert r"$\eta_c$ fitted = 0.021 ($\varepsilon$ = 0.02)" in entries(figure)


def test_the_upper_axis_is_in_units_of_eta_c(column) -> None:
    figure = transition_figure(column())
    rendered(figure)
    sharpness = figure.axes[0]
    (above,) = sharpness.child_axes
    assert above.get_xlim() == pytest.approx(np.array(sharpness.get_xlim()) / 0.02)
    assert "eta_c" in above.get_xlabel()


def test_axes_are_named_and_share_a_logarithmic_eta(column) -> None:
    sharpness, norm, loss = transition_figure(column()).axes[:3]
    assert "sharpness  $S$" in sharpness.get_ylabel()
    assert r"\Vert\theta\Vert_1" in norm.get_ylabel()
    assert "test loss" in loss.get_ylabel()
    assert r"$\eta$" in loss.get_xlabel()
    assert {axes.get_xscale() for axes in (sharpness, norm, loss)} == {"log"}
    assert sharpness.get_yscale() == "log"
    assert sharpness.get_xlim() == norm.get_xlim() == loss.get_xlim()


def test_all_that_was_measured_is_inside_the_frame(column) -> None:
    rows = column()
    figure = transition_figure([*rows, *column(etas=(0.8,), flow=False, status="diverged")])
    low, high = figure.axes[0].get_xlim()
    assert low < 0.02 < 0.8 < high
    for axes, measure in zip(figure.axes, ("sharpness", "l1_norm", "test_loss"), strict=False):
        low, high = axes.get_ylim()
        assert all(low < row[measure] < high for row in rows)


def test_every_text_is_at_least_nine_points(column) -> None:
    figure = transition_figure(column())
    rendered(figure)
    texts = figure.findobj(lambda artist: hasattr(artist, "get_fontsize") and artist.get_text())
    assert len(texts) > 20
    assert min(text.get_fontsize() for text in texts) >= 9


def test_the_legend_names_what_is_there_and_nothing_else(column) -> None:
    shown = entries(transition_figure(column()))
    assert [shown[0], shown[1]] == [r"$\varepsilon$ = 0.1", r"$\varepsilon$ = 0.02"]
    assert "gradient flow" in shown
    assert not any(entry.startswith(("diverged", "excluded", "95 %")) for entry in shown)
    without = entries(transition_figure(column(flow=False, eta_c=None)))
    assert "gradient flow" not in without
    assert not any("eta_c" in entry for entry in without)


def test_the_legend_and_the_panels_do_not_overlap(column) -> None:
    figure = transition_figure(column(epsilons=(0.5, 0.2, 0.1, 0.05, 0.02, 0.01)))
    rendered(figure)
    legend = figure.legends[0].get_window_extent()
    assert all(not legend.overlaps(axes.get_tightbbox()) for axes in figure.axes[:3])
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1


def test_runs_without_a_point_are_marks_along_the_frame(column) -> None:
    """At ε = 0.1 one run diverged; at ε = 0.02 two had, and one ran out of steps."""
    rows = column()
    rows += column(etas=(0.6,), epsilons=(0.1, 0.02), flow=False, status="diverged")
    rows += column(etas=(0.5,), epsilons=(0.02,), flow=False, status="diverged")
    rows += column(etas=(0.01,), epsilons=(0.02,), flow=False, status="max_steps")
    figure = transition_figure(rows)
    sharpness = figure.axes[0]
    assert marks(sharpness, "x") == {
        cycle(0)["color"]: [0.6],
        cycle(1)["color"]: [0.5, 0.6],
    }
    assert marks(sharpness, "|") == {cycle(1)["color"]: [0.01]}
    assert {"diverged", r"stopped short of $\varepsilon$"} <= set(entries(figure))
    (line,) = lines(sharpness, r"$\varepsilon$ = 0.02")
    assert not {0.01, 0.5, 0.6} & set(data(line)[0])


def test_marks_do_not_hide_points(column) -> None:
    epsilons = (0.2, 0.1, 0.05, 0.02, 0.01)
    rows = column(epsilons=epsilons)
    rows += column(etas=(0.6,), epsilons=epsilons, flow=False, status="diverged")
    rows += column(etas=(0.01,), epsilons=epsilons, flow=False, status="max_steps")
    sharpness = transition_figure(rows).axes[0]
    to_frame = sharpness.transData + sharpness.transAxes.inverted()
    heights = [
        to_frame.transform((row["eta"] or 0.1, row["sharpness"]))[1]
        for row in rows
        if row["status"] == "reached"
    ]
    crosses = [line.get_ydata()[0] for line in sharpness.get_lines() if line.get_marker() == "x"]
    bars = [line.get_ydata()[0] for line in sharpness.get_lines() if line.get_marker() == "|"]
    assert max(bars) < min(heights)
    assert max(heights) < min(crosses)


def test_excluded_runs_are_hollow_on_no_line_and_named_with_their_reasons(column) -> None:
    """Of one column two did not converge, one was not measured, and one was a chance crossing."""
    rows = column(epsilons=(0.1,), etas=(0.02, 0.05, 0.08, 0.12, 0.2, 0.4))
    rows[1]["sharpness_converged"] = False
    rows[2]["sharpness_converged"] = None
    rows[3]["sharpness"] = None
    rows[6]["sharpness"] = 1.6 * 2 / 0.4
    figure = transition_figure(rows)
    excluded = [0.02, 0.05, 0.08, 0.4]
    for axes in figure.axes[:3]:
        (line,) = lines(axes, r"$\varepsilon$ = 0.1")
        assert data(line)[0] == [0.12, 0.2]
        (hollow,) = [x for x in axes.get_lines() if x.get_markerfacecolor() == "white"]
        assert data(hollow)[0] == (excluded if axes is not figure.axes[0] else [0.02, 0.05, 0.4])
        assert hollow.get_linestyle() == "None"
        assert hollow.get_color() == line.get_color() == cycle(0)["color"]
    (entry,) = [text for text in entries(figure) if text.startswith("excluded")]
    assert entry == "excluded ($S$ not measured, $S$ not converged, chance crossing)"


def test_the_band_around_the_fitted_rate_has_a_legend(column) -> None:
    assert "95 % interval of the fit" in entries(transition_figure(column(), FITTED))
    unknown = FITTED | {"eta_c_fitted_low": None, "eta_c_fitted_high": None}
    assert "95 % interval of the fit" not in entries(transition_figure(column(), unknown))


@pytest.mark.parametrize("measure", ["sharpness", "l1_norm", "test_loss"])
def test_what_was_not_measured_is_left_out(column, measure: str) -> None:
    rows = column(epsilons=(0.1,))
    rows[3][measure] = None
    figure = transition_figure(rows)
    panel = ["sharpness", "l1_norm", "test_loss"].index(measure)
    (line,) = lines(figure.axes[panel], r"$\varepsilon$ = 0.1")
    assert data(line)[0] == [0.02, 0.05, 0.2, 0.4]
    assert rendered(figure)


@pytest.mark.parametrize(
    "values",
    [
        {"flow": False},
        {"flow": False, "eta_c": None},
        {"etas": ()},
        {"etas": (), "eta_c": None},
        {"etas": (), "status": "max_steps", "eta_c": None, "sharpness": None},
        {"status": "diverged", "eta_c": None, "sharpness": None, "l1_norm": None},
        {"sharpness": None, "l1_norm": None, "test_loss": None},
        {"sharpness": 0.0, "l1_norm": 0.0, "test_loss": 0.0},
        {"etas": (0.1,), "epsilons": (0.1,), "flow": False},
        {"dataset": None, "n_train": None, "init_scale": None},
    ],
    ids=[
        *("no flow", "no flow nor eta_c", "only a flow", "only a flow without eta_c"),
        *("only a flow that stopped short", "only diverged", "nothing measured", "all zero"),
        *("one run", "no problem"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_column_that_lacks_something_is_still_drawn(column, values) -> None:
    assert rendered(transition_figure(column(**values))).startswith(b"\x89PNG")


def test_magnitudes_of_test_loss_and_of_eta_get_logarithmic_labels(column) -> None:
    rows = column(etas=np.geomspace(1e-6, 1, 7).tolist(), epsilons=(0.1,))
    for row in rows:
        row["test_loss"] = row["eta"] or 1.0
    figure = transition_figure(rows)
    rendered(figure)
    loss = figure.axes[2]
    assert loss.get_yscale() == "log"
    assert r"$\mathdefault{10^{-6}}$" in [tick.get_text() for tick in loss.get_xticklabels()]


@pytest.mark.parametrize(
    "name",
    [
        *("$x$", "a_b^{c}", r"\frac{", "$", "100% & more #1", "two\nlines\x07", "{dataset}"),
        "x" * 5000,
    ],
)
@pytest.mark.filterwarnings("error")
def test_names_are_never_markup(column, name: str) -> None:
    figure = transition_figure(column(dataset=name, activation=name))
    assert rendered(figure)
    shown = title(column(dataset=name)[0])
    assert len(shown.splitlines()) == 2
    assert shown.startswith(name[:3])
    assert figure.get_suptitle() == title(column(dataset=name, activation=name)[0])


def test_the_title_says_what_the_problem_is(column) -> None:
    shown = transition_figure(column(init_scale=0.5, seed=3)).get_suptitle()
    for word in ("mnist-mini", "n = 1000", "fcn 2×64 tanh", "mse", "init scale 0.5", "seed 3"):
        assert word in shown


def test_only_the_rows_of_one_column_make_a_figure(column) -> None:
    with pytest.raises(ValueError, match="of 0 columns"):
        transition_figure([])
    with pytest.raises(ValueError, match="of 2 columns"):
        transition_figure([*column(), *column(column_id="other")])


def test_looks_differ_in_colour_and_in_marker() -> None:
    first = [cycle(number) for number in range(6)]
    assert len({one["color"] for one in first}) == len({one["marker"] for one in first}) == 6
    assert len({tuple(cycle(number).values()) for number in range(42)}) == 42
