"""Lines of many groups at once, beside scipy's of each."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.grouped import lines


def test_lines_and_their_intervals_are_those_of_another_library() -> None:
    """Of three points, which have one degree of freedom, as well as of many."""
    generator, counts = np.random.default_rng(0), (3, 4, 7, 40)
    group = np.repeat(np.arange(len(counts)), counts)
    x = generator.uniform(1, 5, len(group))
    y = 3 - 0.5 * x + generator.normal(0, 0.2, len(group))
    found = lines(x, y, group, len(counts))
    for number, count in enumerate(counts):
        its = group == number
        line = stats.linregress(x[its], y[its])
        half = stats.t.ppf(0.975, count - 2) * line.stderr
        assert found.slope[number] == pytest.approx(line.slope, rel=1e-9)
        assert found.intercept[number] == pytest.approx(line.intercept, rel=1e-9)
        assert found.r2[number] == pytest.approx(line.rvalue**2, rel=1e-9)
        assert found.low[number] == pytest.approx(line.slope - half, rel=1e-9)
        assert found.high[number] == pytest.approx(line.slope + half, rel=1e-9)


@pytest.mark.parametrize("x", [[1.0, 2.0], [3e5, 3e5, 3e5 + 1e-10], [2.0], []])
def test_there_is_no_line_through_two_points_or_where_x_varies_by_roundings(
    x: list[float],
) -> None:
    found = lines(np.array(x), np.arange(float(len(x))), np.zeros(len(x), np.int64), 1)
    for values in vars(found).values():
        assert np.isnan(values).all()


def test_where_y_is_the_same_nothing_is_explained() -> None:
    found = lines(np.array([1.0, 2.0, 3.0]), np.full(3, 7.0), np.zeros(3, np.int64), 1)
    assert found.slope[0] == found.low[0] == found.high[0] == 0.0
    assert np.isnan(found.r2[0])
