"""Networks whose cost no formula knows are timed before a plan says what they cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jobs import Problem, Protocol
from jobs import problem as problems
from jobs.dynamics.schedule import PRODUCTS_PER_GRADIENT
from orchestrator.engine import timing
from orchestrator.engine.timing import time_gradients
from orchestrator.plan import GradientKind
from orchestrator.plan.cost import prior_seconds_per_gradient, seconds_by_column
from orchestrator.sweep import Column, EtaGrid, Resources


def column(**problem: object) -> Column:
    return Column(
        problem=Problem(**{"dataset": "digits", "n_train": 50, "depth": 1, **problem}),
        protocol=Protocol(epsilons=(0.1,)),
        etas=(EtaGrid(unit="eta_c", multiples=(1.0,)),),
        stop_after_divergences=None,
        resources=Resources(cpus_per_worker=2),
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, int]]:
    """What was timed, by width and threads, where a gradient of width w takes w seconds."""
    found: list[tuple[int | None, int]] = []

    def time_problem(problem: Problem, seconds: float, threads: int) -> problems.Timing:
        found.append((problem.width, threads))
        if problem.width == 4:
            raise ValueError("a network that cannot be computed")
        assert problem.width is not None
        return problems.Timing(problem.width, 3 * problem.width, problem.n_train)

    monkeypatch.setattr(problems, "time_problem", time_problem)
    return found


def per_gradient(width: int) -> float:
    return width * (1 + 3 * PRODUCTS_PER_GRADIENT) / (1 + PRODUCTS_PER_GRADIENT)


def test_each_distinct_network_is_timed_once_the_largest_first(
    asked: list[tuple[int | None, int]],
) -> None:
    columns = [column(architecture="cnn", width=w, seed=seed) for w in (8, 16) for seed in (0, 1)]
    fcn = column(width=8)
    timed = time_gradients([*columns, fcn])
    assert asked == [(16, 2), (8, 2)]
    assert seconds_by_column([*columns, fcn], timed) == {
        one.column_id: pytest.approx(per_gradient(one.problem.width)) for one in columns
    }


def test_when_time_runs_out_others_are_as_fast_for_each_operation(
    asked: list[tuple[int | None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (column(architecture="cnn", width=width) for width in (8, 16))
    clock = iter([0.0, 0.0, timing.SECONDS])
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    timed = time_gradients([small, large])
    found = seconds_by_column([small, large], timed)
    assert asked == [(16, 2)]
    ratio = found[small.column_id] / found[large.column_id]
    assert ratio == pytest.approx(
        prior_seconds_per_gradient(small) / prior_seconds_per_gradient(large)
    )


def test_of_what_cannot_be_timed_nothing_is_said(asked: list[tuple[int | None, int]]) -> None:
    assert time_gradients([column(architecture="cnn", width=20_000, depth=3)]) == {}
    assert asked == []
    assert time_gradients([column(architecture="cnn", width=4), column()]) == {}
    assert asked == [(4, 2)]


def test_timing_ends_between_two_networks_when_it_is_abandoned(
    asked: list[tuple[int | None, int]],
) -> None:
    columns = [column(architecture="cnn", width=width) for width in (8, 16)]
    assert list(time_gradients(columns, lambda: bool(asked))) == [GradientKind.of(columns[1])]
    assert asked == [(16, 2)]
