"""The golden checks hold, and a wrong number does not."""

from __future__ import annotations

import pytest

from jobs import golden


def test_all_golden_checks_hold_here() -> None:
    checks = list(golden.golden_checks(threads=1))
    assert [check for check in checks if not check.holds] == []
    assert len(checks) == 1 + len(golden.GOLDEN_RUNS) + len(golden.NETWORKS) + 1 + 2


def test_a_number_that_is_not_the_published_one_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, *numbers = golden.GOLDEN_RUNS[0.05]
    monkeypatch.setattr(golden, "GOLDEN_RUNS", {0.05: (steps + 1, *numbers)})
    monkeypatch.setattr(golden, "GOLDEN_S_GF", 11.9)
    assert [check.holds for check in golden._diagonal_network("cpu", 1)] == [False, False]
