"""How long a gradient takes is measured on as many samples as there is time for."""

from __future__ import annotations

import types

import pytest

from jobs import Problem
from jobs import problem as problems
from jobs.curvature.memory import MemoryBudgetError

PROBLEM = Problem(dataset="digits", n_train=1_000, width=8, depth=1)
SECONDS_A_SAMPLE = 0.01


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine on which a gradient takes 0.004 s a sample, a product 0.006 s; what it measured."""
    counts: list[int] = []
    clock = types.SimpleNamespace(now=0.0)

    def measure(problem: Problem, count: int, threads: int) -> tuple[float, float]:
        counts.append(count)
        clock.now += SECONDS_A_SAMPLE * count
        return 0.004 * count, 0.006 * count

    monkeypatch.setattr(problems, "_time", measure)
    monkeypatch.setattr(problems, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return counts


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.0, 100.0])
def test_all_samples_are_accounted_for_in_the_time_that_is_given(
    measured: list[int], seconds: float
) -> None:
    found = problems.time_problem(PROBLEM, seconds)
    assert (found.gradient, found.product) == pytest.approx((4.0, 6.0))
    assert found.samples == measured[-1] <= PROBLEM.n_train
    assert (found.samples == PROBLEM.n_train) == (seconds == 100.0)
    first = problems.FEWEST_SAMPLES * SECONDS_A_SAMPLE
    assert sum(measured) * SECONDS_A_SAMPLE <= seconds + 2 * first


def test_what_could_not_run_here_is_not_even_made() -> None:
    huge = Problem(dataset="digits", n_train=1_000, width=100_000, depth=1_000)
    with pytest.raises(MemoryBudgetError):
        problems.time_problem(huge, 1.0)


@pytest.mark.parametrize(
    "problem",
    [
        PROBLEM,
        Problem(dataset="digits", n_train=3, architecture="cnn", width=4, depth=1, loss="ce"),
        Problem(
            dataset="classification(features=4, informative=2, seed=0)", n_train=20,
            architecture="diagonal", loss="logistic", dtype="float64",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_problem_can_be_timed(problem: Problem) -> None:
    found = problems.time_problem(problem, 5.0)
    assert found.gradient > 0
    assert found.product > 0
