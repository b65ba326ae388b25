"""The one rule by which statements hold, mostly hold, or do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from orchestrator.analysis.verdict import (
    ENOUGH,
    FAILS,
    HOLDS,
    LEAST_SHARE,
    MOSTLY_HOLDS,
    UNDECIDED,
    share_in_words,
    share_interval,
    verdict,
)


@given(st.integers(1, 400), st.data())
def test_the_interval_is_that_of_another_library(decided: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, decided))
    expected = binomtest(right, decided).proportion_ci(0.95, method="exact")
    assert share_interval(right, decided) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 400), st.data())
def test_a_verdict_gets_no_worse_with_more_places_that_are_right(
    decided: int, data: st.DataObject
) -> None:
    ranks = {FAILS: 0, MOSTLY_HOLDS: 1, HOLDS: 2}
    right = data.draw(st.integers(0, decided - 1))
    assert ranks[verdict(right, decided)] <= ranks[verdict(right + 1, decided)]


@pytest.mark.parametrize(
    ("right", "decided", "expected"),
    [
        *((0, 0, UNDECIDED), (1, 1, HOLDS), (0, 1, FAILS), (300, 300, HOLDS)),
        *((22, 23, MOSTLY_HOLDS), (1, 23, FAILS), (12, 23, FAILS), (999, 1000, MOSTLY_HOLDS)),
        *((6, 7, FAILS), (8, 9, MOSTLY_HOLDS)),
    ],
)
def test_a_statement_that_is_nearly_always_right_is_not_called_like_one_that_never_is(
    right: int, decided: int, expected: str
) -> None:
    assert verdict(right, decided) == expected


def test_few_places_that_all_agree_leave_the_interval_below_one_half() -> None:
    assert share_interval(ENOUGH, ENOUGH)[0] > LEAST_SHARE
    assert share_interval(ENOUGH - 1, ENOUGH - 1)[0] < LEAST_SHARE
    assert "interval" in share_in_words(ENOUGH, ENOUGH)
    assert share_in_words(ENOUGH - 1, ENOUGH - 1) == "100 %"
