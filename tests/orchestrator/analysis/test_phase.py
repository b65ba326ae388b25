"""The row of one column at one threshold, from trials with known answers."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trial_rows import TrialRow, phase_row

from jobs.golden import GOLDEN_RUNS, GOLDEN_S_GF
from orchestrator.analysis import PhaseRow
from orchestrator.analysis.grouped import chance_of_rise, median_intervals
from orchestrator.store import PHASE

GRID = np.geomspace(0.02, 0.5, 12)


def gd(eta: float, sharpness: float | None = 1.0, **values) -> TrialRow:
    known = {"status": "reached", "sharpness_converged": True}
    return TrialRow(eta=eta, sharpness=sharpness, **known | values)


def flow(s_gf: float | None, **values) -> TrialRow:
    return TrialRow(s_gf=s_gf, **{"status": "reached", "sharpness": s_gf} | values)


def two_regimes(eta_c: float, grid=GRID) -> list[TrialRow]:
    return [gd(float(eta), float(2 / max(eta, eta_c))) for eta in grid]


def test_the_row_has_the_columns_of_its_table() -> None:
    assert [field.name for field in fields(PhaseRow)] == PHASE.names


def test_two_exact_regimes() -> None:
    row = phase_row("c", 0.1, flow(20.0, l1_norm=7.0), two_regimes(0.1))
    assert (row.column_id, row.epsilon) == ("c", 0.1)
    assert row.eta_c == pytest.approx(0.1)
    assert row.eta_c_fitted == pytest.approx(0.1, rel=1e-6)
    assert row.flow_sharpness == 20.0
    assert row.l1_flow == 7.0
    assert row.edge_exponent == pytest.approx(-1)
    assert row.edge_ratio == pytest.approx(1)
    assert row.flat_spread == pytest.approx(0, abs=1e-12)
    assert (row.n_gd, row.n_diverged) == (12, 0)


def test_the_diagonal_network_of_two_weights() -> None:
    """The golden runs: S and ‖w‖₁ of converged GD, and its risk."""
    rows = [
        gd(eta, run.sharpness, l1_norm=run.l1_norm, test_loss=run.risk)
        for eta, run in GOLDEN_RUNS.items()
    ]
    below, above = [GOLDEN_RUNS[0.05], GOLDEN_RUNS[0.15]], list(GOLDEN_RUNS)[2:]
    row = phase_row("diagonal", 1e-12, flow(GOLDEN_S_GF), rows)
    assert row.eta_c == pytest.approx(0.16715, rel=1e-4)
    assert row.eta_c_fitted == pytest.approx(0.16715, rel=0.03)
    assert row.edge_ratio == pytest.approx(0.98, abs=0.01)
    assert row.edge_exponent == pytest.approx(-1, abs=0.1)
    high, low = (run.sharpness for run in below)
    assert row.flat_spread == pytest.approx(2 * (high - low) / (high + low), rel=1e-5)
    assert row.l1_slope == pytest.approx(
        np.polyfit(above, [GOLDEN_RUNS[eta].l1_norm for eta in above], 1)[0]
    )
    assert (row.test_loss_best, row.eta_best) == (GOLDEN_RUNS[0.20].risk, 0.20)
    assert row.eta_best_over_eta_c == pytest.approx(1.2, rel=0.01)
    assert row.u_shaped is None
    assert row.u_depth == pytest.approx(1 - GOLDEN_RUNS[0.20].risk / below[0].risk)
    assert row.l1_flat == pytest.approx(sum(run.l1_norm for run in below) / 2)
    assert row.l1_rises is True
    assert row.l1_chance == pytest.approx(1 / 24)
    assert row.transition is True


def test_the_flow_is_judged_by_its_own_final_sharpness_not_by_its_maximum() -> None:
    row = phase_row("c", 0.1, flow(40.0, sharpness=20.0), two_regimes(0.1))
    assert row.eta_c == pytest.approx(0.05)
    assert row.flow_sharpness == 20.0
    assert row.eta_c_fitted == pytest.approx(0.1, rel=1e-6)


def test_without_a_flow_the_regimes_are_told_apart_by_the_fit() -> None:
    row = phase_row("c", 0.1, None, two_regimes(0.1))
    assert (row.eta_c, row.flow_sharpness, row.l1_flow, row.eta_best_over_eta_c) == (None,) * 4
    assert row.eta_c_fitted == pytest.approx(0.1, rel=1e-6)
    assert row.edge_exponent == pytest.approx(-1)
    assert row.flat_spread == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("status", ["max_steps", "diverged"])
def test_a_flow_that_stopped_elsewhere_says_nothing_of_this_threshold(status: str) -> None:
    row = phase_row("c", 0.1, flow(20.0, l1_norm=3.0, status=status), [])
    assert (row.eta_c, row.flow_sharpness, row.l1_flow) == (None, None, None)


def test_a_flow_without_sharpness_predicts_nothing() -> None:
    assert phase_row("c", 0.1, flow(None), two_regimes(0.1)).eta_c is None


def test_without_gd_everything_but_the_flow_is_null() -> None:
    row = phase_row("c", 0.1, flow(20.0), [])
    counts = {name for name in PHASE.names if name.startswith("n_")}
    known = {"column_id", "epsilon", "eta_c", "flow_sharpness", "undecided", *counts}
    assert {name for name, value in vars(row).items() if value is not None} == known
    assert all(getattr(row, name) == 0 for name in counts)


UNUSED = [
    gd(0.3, None, status="diverged"),
    gd(0.4, 900.0, status="diverged"),
    gd(0.01, 3.0, status="max_steps"),
    gd(0.35, 1.92 * 2 / 0.35),
    gd(0.25, 1.0, sharpness_converged=False),
    gd(0.26, 1.0, sharpness_converged=None),
    gd(0.27, None),
    gd(0.28, float("nan")),
]


def test_runs_that_do_not_count_change_nothing_but_the_counts() -> None:
    used = [vars(run) | {"test_loss": 1.0, "l1_norm": run.eta} for run in two_regimes(0.1)]
    rows = [TrialRow(**run) for run in used]
    worse = [TrialRow(**vars(run) | {"test_loss": 0.1, "l1_norm": 99.0}) for run in UNUSED]
    alone = phase_row("c", 0.1, flow(20.0), rows)
    together = phase_row("c", 0.1, flow(20.0), [*worse, *rows])
    counts = {"n_gd": len(rows) + len(worse), "n_diverged": 2, "n_short": 1, "n_chance_crossing": 1}
    counts |= {"n_unconverged": 2, "n_unmeasured": 2}
    assert together.n_included == len(rows)
    assert vars(together) == vars(alone) | counts


def test_an_oscillation_stopped_by_a_loose_threshold_still_counts() -> None:
    runs = [gd(eta, 1.3 * 2 / eta) for eta in (0.2, 0.3, 0.4)]
    assert phase_row("c", 0.1, flow(20.0), runs).edge_ratio == pytest.approx(1.3)


def test_the_edge_needs_three_runs_clearly_above_eta_c() -> None:
    near = two_regimes(0.1, [0.105, 0.109, 0.2, 0.3])
    row = phase_row("c", 0.1, flow(20.0), near)
    assert (row.edge_exponent, row.edge_ratio) == (None, None)
    row = phase_row("c", 0.1, flow(20.0), [*near, gd(0.4, 5.0)])
    assert row.edge_exponent == pytest.approx(-1)


def test_the_flat_regime_needs_two_runs_clearly_below_eta_c() -> None:
    runs = [gd(0.02, 20.0), gd(0.095, 17.0), gd(0.2, 10.0)]
    assert phase_row("c", 0.1, flow(20.0), runs).flat_spread is None
    assert phase_row("c", 0.1, flow(20.0), [*runs, gd(0.05, 19.0)]).flat_spread == pytest.approx(
        1 / 19.5
    )


def test_the_norm_grows_along_a_line_above_eta_c_only() -> None:
    norms = {0.05: 50.0, 0.09: 50.0, 0.12: 52.0, 0.2: 60.0, 0.3: 70.0, 0.4: None}
    runs = [gd(eta, 2 / max(eta, 0.1), l1_norm=norm) for eta, norm in norms.items()]
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert row.l1_slope == pytest.approx(100)
    assert row.l1_r2 == pytest.approx(1)
    assert phase_row("c", 0.1, flow(20.0), runs[:4]).l1_slope is None


def test_the_best_rate_is_that_of_the_least_test_loss() -> None:
    runs = [gd(0.1, test_loss=0.9), gd(0.3, test_loss=0.4), gd(0.2, test_loss=None)]
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert (row.test_loss_best, row.eta_best) == (0.4, 0.3)
    assert row.eta_best_over_eta_c == pytest.approx(3)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_another_unit_of_eta_scales_what_is_a_rate_and_leaves_what_is_a_ratio(
    scale: float, seed: int
) -> None:
    noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(len(GRID)))
    runs = [
        gd(run.eta, run.sharpness * factor, test_loss=abs(run.eta - 0.2), l1_norm=run.eta**2)
        for run, factor in zip(two_regimes(0.1), noise, strict=True)
    ]
    scaled = [
        TrialRow(**vars(run) | {"eta": run.eta * scale, "sharpness": run.sharpness / scale})
        for run in runs
    ]
    row = phase_row("c", 0.1, flow(20.0), runs)
    other = phase_row("c", 0.1, flow(20.0 / scale), scaled)
    for name in ("eta_c", "eta_c_fitted", "eta_best"):
        assert getattr(other, name) == pytest.approx(scale * getattr(row, name), rel=1e-5)
    assert other.l1_slope == pytest.approx(row.l1_slope / scale, rel=1e-6)
    for name in ("edge_exponent", "edge_ratio", "flat_spread", "l1_r2", "eta_best_over_eta_c"):
        assert getattr(other, name) == pytest.approx(getattr(row, name), rel=1e-6)
    assert other.u_shaped == row.u_shaped


def test_there_is_no_transition_where_rates_beyond_the_predicted_one_show_no_fall() -> None:
    level = [gd(eta, 20.0) for eta in (0.05, 0.08, 0.12, 0.14)]
    row = phase_row("c", 0.1, flow(20.0), level)
    assert (row.transition, row.eta_c_fitted) == (False, None)
    assert not row.undecided.startswith("η_c: ")


@pytest.mark.parametrize(("below", "transition"), [(2, None), (12, False)])
def test_the_level_below_is_known_the_better_the_more_runs_it_has(below: int, transition) -> None:
    """S loses 0.2 of what it should; the interval reaches beyond 0.5 with two runs below."""
    flat = [gd(float(eta), 20.0) for eta in np.geomspace(0.02, 0.06, below)]
    edge = [
        gd(eta, 20 * float(np.exp(-0.2 * np.log(eta / 0.1) + noise)))
        for eta, noise in zip((0.12, 0.13, 0.14, 0.145), (0.03, -0.03, -0.03, 0.03), strict=True)
    ]
    assert phase_row("c", 0.1, flow(20.0), flat + edge).transition is transition


@pytest.mark.parametrize("least", [0.03, 0.05, 0.07, 0.08])
def test_a_fall_over_all_rates_is_no_lack_of_a_transition(least: float) -> None:
    """It bends below them."""
    runs = [gd(eta, 2 / eta) for eta in np.geomspace(least, 0.4, 9)]
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert (row.transition, row.eta_c_fitted) == (None, None)
    assert "η_c: S falls, but its scatter leaves open where that begins" in row.undecided


def test_rates_that_end_near_the_predicted_one_do_not_decide() -> None:
    """S bends at 1.2 of it, which counts as right."""
    runs = two_regimes(0.12, [0.02, 0.05, 0.08, 0.112, 0.118])
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert row.transition is None
    assert "the rates end at 1.18 of the predicted one, 1.35 are needed" in row.undecided


def test_a_flow_whose_sharpness_has_not_converged_predicts_nothing() -> None:
    row = phase_row("c", 0.1, flow(7.0, sharpness_converged=False), two_regimes(0.1))
    assert (row.eta_c, row.flow_sharpness) == (None, None)
    assert row.eta_c_fitted == pytest.approx(0.1, rel=1e-6)


def test_the_norm_rises_by_its_order_alone() -> None:
    """Four in order have probability 1/24, three do not decide; two of six pairs fall: 3/8."""

    def found(*norms: float):
        rates = np.linspace(0.12, 0.3, len(norms))
        runs = [gd(eta, 2 / eta, l1_norm=one) for eta, one in zip(rates, norms, strict=True)]
        return phase_row("c", 0.1, flow(20.0), [gd(0.05, 20.0), *runs])

    saturating = found(50.0, 59.0, 59.9, 59.99)
    assert (saturating.l1_rises, saturating.l1_chance) == (True, pytest.approx(1 / 24))
    assert found(60.0, 59.0, 58.0, 57.0).l1_rises is False
    assert found(50.0, 50.0, 50.0, 50.0).l1_rises is False
    # Down and up by less than what counts as the same norm, and by more.
    assert found(50.0, 50.01, 49.99, 50.0).l1_rises is False
    assert found(50.0, 54.0, 49.0, 51.0).l1_rises is None
    few = found(50.0, 51.0, 52.0)
    assert (few.l1_rises, few.l1_chance) == (None, None)
    assert "ℓ1 above η_c: 3 rates included there with a norm, 4 are needed" in few.undecided
    doubtful = found(51.0, 50.0, 53.0, 52.0)
    assert (doubtful.l1_rises, doubtful.l1_chance) == (None, pytest.approx(3 / 8))
    assert "rise as much by chance with probability 0.38" in doubtful.undecided


@pytest.mark.parametrize("n", [4, 6, 9, 80])
def test_noise_passes_for_a_rise_in_five_of_a_hundred_at_most(n: int) -> None:
    random = np.random.default_rng(n)
    group = np.repeat(np.arange(2000), n)
    x = random.random(len(group))
    chance = chance_of_rise(x, random.standard_normal(len(group)), group, 2000)
    assert np.mean(chance <= 0.05) <= 0.065
    sure = chance_of_rise(x, np.tanh(9 * x), group, 2000)
    assert np.all(sure <= 0.05)


@pytest.mark.parametrize("n", [6, 10, 25])
def test_the_interval_of_a_median_holds_it_in_95_of_100(n: int) -> None:
    """Of a skewed distribution whose median is log 2."""
    values = np.random.default_rng(n).exponential(size=2000 * n)
    low, high = median_intervals(values, np.repeat(np.arange(2000), n), 2000)
    assert 0.94 <= np.mean((low <= np.log(2)) & (np.log(2) <= high)) <= 0.99


def test_the_median_of_five_has_no_interval() -> None:
    low, high = median_intervals(np.arange(5.0), np.zeros(5, dtype=int), 1)
    assert np.isnan([low[0], high[0]]).all()


def test_the_edge_has_intervals_that_narrow_with_the_noise() -> None:
    random, widths = np.random.default_rng(0), []
    for noise in (0.01, 0.04):
        runs = [
            gd(run.eta, run.sharpness * float(np.exp(noise * random.standard_normal())))
            for run in two_regimes(0.1, np.geomspace(0.03, 0.5, 24))
        ]
        row = phase_row("c", 0.1, flow(20.0), runs)
        assert row.edge_exponent_low < -1 < row.edge_exponent_high
        assert row.edge_ratio_low < 1 < row.edge_ratio_high
        widths.append(row.edge_exponent_high - row.edge_exponent_low)
    assert widths[0] < widths[1]


@pytest.mark.parametrize(
    ("runs", "of_flow", "reason"),
    [
        ([], flow(20.0), "η_c: no rates included, 3 are needed"),
        (two_regimes(0.1)[:1], flow(20.0), "η_c: 1 rate included, 3 are needed"),
        (
            two_regimes(0.1, [0.02, 0.05, 0.08]),
            flow(20.0),
            "η_c: no rates included above the predicted one, 2 are needed",
        ),
        (
            two_regimes(0.1, [0.2, 0.3, 0.4]),
            flow(20.0),
            "η_c: no rates included below the predicted one, 1 is needed",
        ),
        (
            two_regimes(0.1, [0.02, 0.05, 0.08]),
            None,
            "η_c: the flow predicts none, and S shows none",
        ),
    ],
)
def test_too_little_is_undecided_and_says_why(runs, of_flow, reason: str) -> None:
    row = phase_row("c", 0.1, of_flow, runs)
    assert (row.transition, row.eta_c_fitted) == (None, None)
    assert row.undecided.startswith(reason)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_a_sharpness_that_never_falls_has_no_transition(noise: float) -> None:
    random = np.random.default_rng(0)
    runs = [gd(eta, 5.0 * float(np.exp(noise * random.standard_normal()))) for eta in GRID[:9]]
    row = phase_row("c", 0.1, flow(40.0), runs)
    assert (row.transition, row.eta_c_fitted) == (False, None)
    assert not row.undecided.startswith("η_c:")


def test_what_is_decided_has_no_reason() -> None:
    runs = [
        gd(run.eta, run.sharpness, l1_norm=50 + run.eta, test_loss=1.0) for run in two_regimes(0.1)
    ]
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert row.transition is True
    assert row.undecided == "valley of test loss: one seed has no spread, 2 are needed"


@pytest.mark.parametrize(("x", "y"), [((1, 2, 3, 3), (1, 2, 3, 4)), ((1, 2, 3, 4), (1, 2, 3, 3))])
def test_a_tie_makes_no_rise_surer_than_it_is(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Of the 24 orders of these y, two have as many rises: a chance of 1/12."""
    group = np.zeros(4, dtype=np.int64)
    chance = chance_of_rise(np.array(x, float), np.array(y, float), group, 1)
    assert chance[0] >= 1 / 12


def test_scatter_seldom_refutes_a_transition_that_is_there() -> None:
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(300):
        grid = np.geomspace(0.06, 0.14, 5)
        runs = [
            gd(float(eta), float(2 / max(eta, 0.1) * np.exp(0.1 * rng.standard_normal())))
            for eta in grid
        ]
        wrong += phase_row("c", 0.1, flow(20.0), runs).transition is False
    assert wrong <= 12  # 9 to 15 % by the median of what was lost


def test_a_constant_sharpness_near_eta_c_is_not_taken_for_the_edge() -> None:
    """From 1.1 to 1.15 η_c a constant S is as near to 2/η as theory asks for."""
    level = [gd(eta, 20.0) for eta in (0.05, 0.08, 0.111, 0.112, 0.113, 0.114)]
    row = phase_row("c", 0.1, flow(20.0), level)
    assert row.edge_ratio is None
    assert "S above η_c: the rates end at 1.14 of it, 1.35 are needed" in row.undecided


def test_with_many_chance_crossings_the_rest_gives_no_interval() -> None:
    runs = two_regimes(0.1)
    row = phase_row("c", 0.1, flow(20.0), runs)
    assert row.edge_exponent_low == pytest.approx(-1)
    accidents = [gd(eta, 1.7 * 2 / eta) for eta in (0.3, 0.35, 0.45)]
    row = phase_row("c", 0.1, flow(20.0), [*runs, *accidents])
    assert row.n_chance_crossing == 3
    assert row.edge_exponent == pytest.approx(-1)
    assert (row.edge_exponent_low, row.edge_exponent_high) == (None, None)


def test_chance_crossings_are_named_where_they_leave_too_few_runs() -> None:
    level = [gd(eta, 20.0) for eta in (0.05, 0.08, 0.12, 0.2, 0.3, 0.4)]
    row = phase_row("c", 0.1, flow(20.0), level)
    assert row.transition is None
    assert (
        "η_c: 1 rate included above the predicted one, 2 are needed (3 came to ε by chance)"
        in row.undecided
    )


@pytest.mark.parametrize(("rise", "rises"), [(1e-7, False), (0.3, True)])
def test_a_rise_of_nothing_is_none_however_regular(rise: float, rises: bool) -> None:
    runs = [
        gd(float(eta), float(2 / max(eta, 0.1)), l1_norm=7.0 * (1 + rise * float(eta)))
        for eta in GRID
    ]
    row = phase_row("c", 0.1, flow(20.0, l1_norm=7.0), runs)
    assert row.l1_chance < 0.01
    assert row.l1_rises is rises
