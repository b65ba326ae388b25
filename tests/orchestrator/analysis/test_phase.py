"""The row of one column at one threshold, from trials with known answers."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis import Measured, PhaseRow, phase_row
from orchestrator.store import PHASE

GRID = np.geomspace(0.02, 0.5, 12)


def gd(eta: float, sharpness: float | None = 1.0, **values) -> Measured:
    known = {"status": "reached", "sharpness_converged": True}
    return Measured(eta=eta, sharpness=sharpness, **known | values)


def flow(s_gf: float | None, **values) -> Measured:
    return Measured(s_gf=s_gf, **{"status": "reached", "sharpness": s_gf} | values)


def two_regimes(eta_c: float, grid=GRID) -> list[Measured]:
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
    """x = (2, 1), y = 1.5, w0 = 0.01: S_GF = 11.9655, and S and ‖w‖₁ of converged GD."""
    golden = [
        (0.05, 11.9550, 0.9688, 0.2986),
        (0.15, 11.9324, 0.9911, 0.2917),
        (0.18, 11.0562, 1.2807, 0.0872),
        (0.20, 9.8797, 1.4244, 0.0011),
        (0.22, 8.9232, 1.4815, 0.0906),
        (0.25, 7.7933, 1.4990, 0.3804),
    ]
    rows = [gd(eta, s, l1_norm=l1, test_loss=risk) for eta, s, l1, risk in golden]
    row = phase_row("diagonal", 1e-12, flow(11.9655), rows)
    assert row.eta_c == pytest.approx(0.16715, rel=1e-4)
    assert row.eta_c_fitted == pytest.approx(0.16715, rel=0.03)
    assert row.edge_ratio == pytest.approx(0.98, abs=0.01)
    assert row.edge_exponent == pytest.approx(-1, abs=0.1)
    assert row.flat_spread == pytest.approx((11.9550 - 11.9324) / 11.9437)
    assert row.l1_slope == pytest.approx(
        np.polyfit([0.18, 0.20, 0.22, 0.25], [1.2807, 1.4244, 1.4815, 1.4990], 1)[0]
    )
    assert (row.test_loss_best, row.eta_best) == (0.0011, 0.20)
    assert row.eta_best_over_eta_c == pytest.approx(1.2, rel=0.01)
    assert row.u_shaped is True


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
    known = {"column_id", "epsilon", "eta_c", "flow_sharpness", "n_gd", "n_diverged"}
    assert {name for name, value in vars(row).items() if value is not None} == known
    assert (row.n_gd, row.n_diverged) == (0, 0)


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
    rows = [Measured(**run) for run in used]
    worse = [Measured(**vars(run) | {"test_loss": 0.1, "l1_norm": 99.0}) for run in UNUSED]
    alone = phase_row("c", 0.1, flow(20.0), rows)
    together = phase_row("c", 0.1, flow(20.0), [*worse, *rows])
    counts = {"n_gd": len(rows) + len(worse), "n_diverged": 2}
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


@pytest.mark.parametrize(
    ("losses", "u_shaped"),
    [
        ([1.0, 0.8, 0.7, 0.9], True),
        ([1.0, 0.9, 0.8, 0.7], False),
        ([0.7, 0.8, 0.9, 1.0], False),
        ([0.705, 0.7, 0.9, 1.0], False),
        ([1.0, 0.9, 0.7, 0.706], False),
        ([1.0, 0.9, 0.7, 0.708], True),
        ([0.7, 0.7, 0.7, 0.7], False),
        ([1.0, 0.7, 0.9], None),
        ([1.0, None, 0.7, 0.9], None),
        ([], None),
    ],
)
def test_a_valley_is_deeper_than_both_ends_by_one_per_cent(losses, u_shaped) -> None:
    runs = [gd(0.1 * (k + 1), test_loss=loss) for k, loss in enumerate(losses)]
    assert phase_row("c", 0.1, flow(20.0), runs[::-1]).u_shaped is u_shaped


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
        Measured(**vars(run) | {"eta": run.eta * scale, "sharpness": run.sharpness / scale})
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
