"""Lines of the claims: their slopes, and what they explain."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.claims.line import line_through


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
