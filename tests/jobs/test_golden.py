"""The golden checks hold, and a wrong number does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from jobs import golden
from jobs.spec import Trial


def test_all_golden_checks_hold_here() -> None:
    checks = list(golden.golden_checks(threads=1))
    assert [check for check in checks if not check.holds] == []
    assert len(checks) == 1 + len(golden.GOLDEN_RUNS) + len(golden.NETWORKS) + 1 + 2


def test_a_number_that_is_not_the_published_one_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    run = golden.GOLDEN_RUNS[0.05]
    monkeypatch.setattr(golden, "GOLDEN_RUNS", {0.05: run._replace(steps=run.steps + 1)})
    monkeypatch.setattr(golden, "GOLDEN_S_GF", 11.9)
    assert [check.holds for check in golden._diagonal_network("cpu", 1)] == [False, False]


@pytest.mark.parametrize("lost", range(6))
def test_a_sharpness_that_is_no_number_is_wrong(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes among the six runs: max and min see a NaN only where it is first."""
    runs = 0

    def edge_of_stability(trial: Trial, **_: object) -> SimpleNamespace:
        nonlocal runs
        if trial.learning_rate is None:
            return SimpleNamespace(crossings=[SimpleNamespace(max_sharpness=20.0)])
        sharpness = None if runs == lost else min(20.0, 2 / trial.learning_rate)
        runs += 1
        return SimpleNamespace(crossings=[SimpleNamespace(sharpness=sharpness)])

    monkeypatch.setattr(golden, "run_trial", edge_of_stability)
    assert [check.holds for check in golden._transition("cpu", 1)] == [lost >= 3, lost < 3]


@pytest.mark.parametrize("end", ["lambda_min", "lambda_max"])
def test_an_end_of_the_spectrum_that_is_no_number_is_wrong(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = golden.sharpness_at
    monkeypatch.setattr(
        golden,
        "sharpness_at",
        lambda *of, **how: replace(measured(*of, **how), **{end: float("nan")}),
    )
    assert not golden._extreme_eigenvalues("cpu").holds
