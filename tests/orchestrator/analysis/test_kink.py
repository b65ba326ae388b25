"""The fitted η_c against curves whose bend is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.kink import Kinks, fitted_kinks

GRID = np.geomspace(0.01, 0.3, 14)


def kinks(eta, sharpness) -> Kinks:
    """Those of many curves (groups, rates) over the same or their own rates."""
    sharpness = np.atleast_2d(np.asarray(sharpness, dtype=float))
    eta = np.broadcast_to(np.asarray(eta, dtype=float), sharpness.shape)
    group = np.repeat(np.arange(len(sharpness)), sharpness.shape[1])
    return fitted_kinks(eta.ravel(), sharpness.ravel(), group, len(sharpness))


def fitted_kink(eta, sharpness) -> float | None:
    """That of one curve."""
    (found,) = kinks(eta, sharpness).eta_c.tolist()
    return None if np.isnan(found) else found


def two_regimes(eta, eta_c: float, noise: float = 0.0, seed: int = 0, height: float = 1.0):
    """2/η_c below η_c and 2/η above, times ``height`` and log-normal noise."""
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(eta)))
    return height * 2 / np.maximum(eta, eta_c) * scatter


@pytest.mark.parametrize("eta_c", [0.0137, 0.05, 0.0831, 0.2])
def test_an_exact_kink_is_found_exactly(eta_c: float) -> None:
    assert fitted_kink(GRID, two_regimes(GRID, eta_c)) == pytest.approx(eta_c, rel=1e-6)


def test_a_kink_that_is_a_grid_point_is_found_exactly() -> None:
    assert fitted_kink(GRID, two_regimes(GRID, GRID[6])) == pytest.approx(GRID[6], rel=1e-6)


def test_the_order_of_the_points_and_the_height_of_the_edge_do_not_matter() -> None:
    shuffled = np.random.default_rng(1).permutation(GRID)
    found = fitted_kink(shuffled, two_regimes(shuffled, 0.05, height=1.04))
    assert found == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_noise_moves_the_kink_no_more_than_noise_explains(seed: int) -> None:
    """log η_c is a difference of two means over at least five points: 4σ·√(2/5) is 2.5σ."""
    found = fitted_kink(GRID, two_regimes(GRID, 0.06, noise=0.02, seed=seed))
    assert found == pytest.approx(0.06, rel=2.6 * 0.02)


@pytest.mark.parametrize("outlier", [1, 11])
def test_one_wild_run_does_not_move_the_kink(outlier: int) -> None:
    sharpness = two_regimes(GRID, 0.05)
    sharpness[outlier] *= 1.4
    assert fitted_kink(GRID, sharpness) == pytest.approx(0.05, rel=0.01)


def test_a_gap_around_the_kink_is_bridged() -> None:
    eta = GRID[(GRID < 0.03) | (GRID > 0.12)]
    assert fitted_kink(eta, two_regimes(eta, 0.06)) == pytest.approx(0.06, rel=1e-6)


def test_one_flat_point_and_two_falling_ones_suffice() -> None:
    eta = np.array([0.04, 0.1, 0.2])
    assert fitted_kink(eta, two_regimes(eta, 0.05)) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(
    "eta",
    [[], [0.1], [0.04, 0.1], [0.04, 0.1, 0.1], [0.01, 0.02, 0.04, 0.1]],
    ids=["none", "one", "two", "two distinct", "one falling"],
)
def test_too_few_points_give_none(eta: list[float]) -> None:
    assert fitted_kink(eta, two_regimes(np.array(eta), 0.05)) is None


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
@pytest.mark.parametrize("seed", range(5))
def test_a_flat_curve_has_no_kink(noise: float, seed: int) -> None:
    assert fitted_kink(GRID, two_regimes(GRID, 10.0, noise, seed)) is None


@pytest.mark.parametrize("noise", [0.0, 0.003])
@pytest.mark.parametrize("seed", range(5))
def test_a_curve_that_is_all_edge_has_no_kink(noise: float, seed: int) -> None:
    assert fitted_kink(GRID, two_regimes(GRID, 1e-3, noise, seed)) is None


def test_a_curve_that_falls_too_gently_or_rises_has_no_kink() -> None:
    assert fitted_kink(GRID, 20 * GRID**-0.3) is None
    assert fitted_kink(GRID, 20 * GRID**0.7) is None


@settings(max_examples=30, deadline=None)
@given(
    scale=st.floats(1e-3, 1e3),
    height=st.floats(1e-3, 1e3),
    kink=st.floats(0.02, 0.15),
    seed=st.integers(0, 10_000),
)
def test_the_kink_scales_with_eta_and_ignores_the_unit_of_sharpness(
    scale: float, height: float, kink: float, seed: int
) -> None:
    sharpness = two_regimes(GRID, kink, noise=0.01, seed=seed)
    found = fitted_kink(GRID, sharpness)
    assert found is not None
    assert fitted_kink(scale * GRID, height * sharpness) == pytest.approx(scale * found, rel=1e-5)


@pytest.mark.parametrize("rates", [6, 8, 12, 19])
def test_the_interval_of_few_and_wild_runs_is_neither_too_narrow_nor_absurd(rates: int) -> None:
    grid = np.geomspace(0.01, 0.3, rates)
    scatter = np.exp(0.1 * np.random.default_rng(rates).standard_normal((2000, rates)))
    found = kinks(grid, two_regimes(grid, 0.0613) * scatter)
    shown = np.isfinite(found.eta_c)
    held = (found.low <= 0.0613) & (found.high >= 0.0613)
    assert shown.mean() > (0.8 if rates == 6 else 0.95)
    assert 0.9 <= held[shown].mean() <= 0.99
    assert np.all((found.low >= grid[0])[shown] & (found.high <= grid[-1])[shown])


@pytest.mark.parametrize("rates", [6, 12])
@pytest.mark.parametrize("noise", [0.03, 0.05, 0.1])
def test_the_scatter_of_an_edge_alone_seldom_shows_a_kink(noise: float, rates: int) -> None:
    grid = np.geomspace(0.01, 0.3, rates)
    scatter = np.exp(noise * np.random.default_rng(rates).standard_normal((2000, rates)))
    assert np.isfinite(kinks(grid, two_regimes(grid, 1e-3) * scatter).eta_c).mean() < 0.06


def test_three_rates_that_scatter_show_none() -> None:
    """One degree of freedom: the interval is thirteen standard deviations wide to each side."""
    assert fitted_kink([0.05, 0.15, 0.3], [20.0, 13.3, 9.0]) is None


@pytest.mark.parametrize("noise", [0.001, 0.01, 0.03])
def test_the_interval_holds_the_kink_in_about_95_of_100_repeats(noise: float) -> None:
    """Of 2000 repeats, 95 % have a standard deviation of 0.5 %; few points cost some more."""
    scatter = np.exp(noise * np.random.default_rng(3).standard_normal((2000, len(GRID))))
    found = kinks(GRID, two_regimes(GRID, 0.0613) * scatter)
    held = (found.low <= 0.0613) & (found.high >= 0.0613)
    assert 0.91 <= held.mean() <= 0.985
    assert np.median(found.high / found.low) < 1 + 8 * noise


def test_the_interval_of_exact_regimes_is_a_point() -> None:
    found = kinks(GRID, two_regimes(GRID, 0.0613))
    assert found.low == pytest.approx(found.high, rel=1e-9)


def test_groups_have_no_part_in_each_other() -> None:
    """Of several sizes, in any order, each has the kink it has alone; one is empty."""
    random = np.random.default_rng(0)
    rates = [np.geomspace(0.01, 0.3, n) for n in (14, 5, 0, 9, 14)]
    curves = [two_regimes(eta, 0.05 + 0.01 * k, 0.01, k) for k, eta in enumerate(rates)]
    group = np.repeat(np.arange(5), [len(eta) for eta in rates])
    order = random.permutation(len(group))
    eta, sharpness = np.concatenate(rates)[order], np.concatenate(curves)[order]
    found = fitted_kinks(eta, sharpness, group[order], 5)
    for k in (0, 1, 3, 4):
        one = kinks(rates[k], curves[k])
        together = [found.eta_c[k], found.low[k], found.high[k]]
        assert together == pytest.approx([one.eta_c[0], one.low[0], one.high[0]], nan_ok=True)
    assert np.isnan(found.eta_c[2])


@pytest.mark.parametrize("rates", [12, 30])
@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
def test_kinks_that_are_shown_with_two_runs_above_have_honest_intervals(
    rates: int, noise: float
) -> None:
    """Shown by its interval: the scatter of two runs, taken for itself, held it in 74 to 91 %."""
    grid = np.geomspace(0.01, 0.3, rates)
    true = float(np.sqrt(grid[-3] * grid[-2]))
    scatter = np.exp(noise * np.random.default_rng(rates).standard_normal((2000, rates)))
    found = kinks(grid, two_regimes(grid, true) * scatter)
    shown = np.isfinite(found.eta_c)
    held = (found.low <= true) & (found.high >= true)
    assert shown.mean() > 0.1
    assert 0.89 <= held[shown].mean() <= 0.99
