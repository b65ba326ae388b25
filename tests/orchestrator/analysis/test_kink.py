"""The fitted η_c against curves whose bend is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.kink import fitted_kink
from orchestrator.analysis.line import line_through

GRID = np.geomspace(0.01, 0.3, 14)


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


def test_a_line_has_its_slope_and_what_it_explains() -> None:
    x = np.linspace(0.1, 0.9, 7)
    exact = line_through(x, 3 - 2 * x)
    assert exact is not None
    assert exact.slope == pytest.approx(-2)
    assert exact.r2 == pytest.approx(1)
    y = 3 - 2 * x + np.random.default_rng(0).standard_normal(7)
    noisy = line_through(x, y)
    assert noisy is not None
    assert noisy.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert noisy.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_a_line_needs_two_places_and_explains_nothing_of_a_constant() -> None:
    assert line_through([1.0, 1.0], [2.0, 3.0]) is None
    assert line_through([], []) is None
    level = line_through([1.0, 2.0, 4.0], [0.1, 0.1, 0.1])
    assert level is not None
    assert level.slope == pytest.approx(0, abs=1e-12)
    assert level.r2 is None
