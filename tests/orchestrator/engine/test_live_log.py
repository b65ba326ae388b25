"""The live log: each step once, in TensorBoard's own files; a sink that fails ends alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tensorboard import scalars

from jobs import Problem, Protocol, Trial
from jobs.records import Point
from orchestrator.engine import live_log as log_module
from orchestrator.engine.live_log import LiveLog
from orchestrator.engine.sinks import MissingPackageError, Sink, refuse_missing
from orchestrator.engine.work import Assignment, NewPoints, Provenance, Report, Work
from orchestrator.plan import FlowSummary
from orchestrator.sweep import Resources

ETA, S_GF = 0.5, 8.0


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """One trial of GD at twice its critical rate, 2/8."""
    trial = Trial(
        problem=Problem(dataset="digits", n_train=50, width=8, depth=1),
        protocol=Protocol(epsilons=(0.2, 0.05), max_steps=100),
        kind="gd",
        learning_rate=ETA,
    )
    summary = FlowSummary({0.2: 4.0, 0.05: S_GF}, 1.0, 1, 1, 0.1)
    return Work(
        run=tmp_path,
        assignments=(Assignment(trial, trial.column_id, 1, summary),),
        resources=Resources(),
        provenance=Provenance("edge", "0", None, None, None, None),
        stop_file=tmp_path / "stop",
        hold_file=tmp_path / "hold",
        report_seconds=1.0,
        memory=None,
        logged=True,
    )


Log = Callable[..., list[str]]


@pytest.fixture
def log(work: Work) -> Log:
    """A run's log from its begin to its end: what it warned of while these reports came."""
    labels = {work.assignments[0].column_id: "digits-50 fcn 1×8"}

    def go(*reports: Report, sinks: tuple[Sink, ...] = (Sink.tensorboard,)) -> list[str]:
        warnings: list[str] = []
        live = LiveLog(work.run, "edge", labels.__getitem__, sinks, warnings.append)
        for report in reports:
            live.take(work, report)
        live.close()
        return warnings

    return go


@pytest.fixture
def report(work: Work) -> Callable[..., Report]:
    def make(*steps: int, ended: bool = False) -> Report:
        points = tuple(
            Point(
                step=step,
                time=step * ETA,
                train_loss=1 / step,
                test_loss=None,
                sharpness=4.0 + step,
                lambda_min=None,
                l1_norm=2.0,
                l2_norm=1.0,
            )
            for step in steps
        )
        new_points = NewPoints(work.assignments[0].trial.trial_id, points, ended)
        return Report((), (), new_points=(new_points,))

    return make


def test_a_trial_is_one_curve_of_its_own_steps(
    work: Work, log: Log, report: Callable[..., Report]
) -> None:
    assert log(report(10, 20), report(40, ended=True)) == []
    (folder,) = (work.run / "tensorboard" / work.assignments[0].column_id).iterdir()
    assert folder.name == f"5.0000e-01-{work.assignments[0].trial.trial_id}"
    found = scalars(folder)
    assert found["ray/tune/sharpness"] == [(10, 14.0), (20, 24.0), (40, 44.0)]
    assert found["ray/tune/edge"] == [(10, 3.5), (20, 6.0), (40, 11.0)]
    assert [step for step, _ in found["ray/tune/train_loss"]] == [10, 20, 40]
    assert "ray/tune/test_loss" not in found


def test_a_resumed_trial_logs_no_step_twice(
    work: Work, log: Log, report: Callable[..., Report]
) -> None:
    log(report(10, 20))
    time.sleep(1.1)  # tensorboardX names a file by the second
    log(report(10, 20, 30), report(40, ended=True))
    (folder,) = (work.run / "tensorboard" / work.assignments[0].column_id).iterdir()
    assert [step for step, _ in scalars(folder)["ray/tune/sharpness"]] == [10, 20, 30, 40]
    assert list((work.run / "tensorboard" / ".steps").iterdir()) == []


class Failing:
    """A callback whose service is away."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        def fail(*arguments: Any, **named: Any) -> None:
            raise ConnectionError("no route to the service")

        return fail


def test_a_sink_that_fails_is_given_up_with_one_warning_and_others_go_on(
    work: Work, log: Log, report: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = log_module.make_callback
    monkeypatch.setattr(
        log_module,
        "make_callback",
        lambda sink, *rest: Failing() if sink is Sink.wandb else make(sink, *rest),
    )
    (warning,) = log(report(10), report(20, ended=True), sinks=(Sink.wandb, Sink.tensorboard))
    assert warning == (
        "logging to wandb has ended: ConnectionError: no route to the service; the run goes on "
        "without it, and the tables have everything"
    )
    (folder,) = (work.run / "tensorboard" / work.assignments[0].column_id).iterdir()
    assert len(scalars(folder)["ray/tune/sharpness"]) == 2


def test_a_sink_that_hangs_holds_nothing_up(
    log: Log, report: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ever = threading.Event()
    monkeypatch.setattr(log_module, "make_callback", lambda *_: for_ever.wait())
    monkeypatch.setattr(log_module, "MOST_WAITING", 3)
    try:
        (warning,) = log(*(report(step) for step in range(1, 6)))
        assert "it is 3 reports behind" in warning
        monkeypatch.setattr(log_module, "CLOSE_SECONDS", 0.1)
        (warning,) = log(report(1))
        assert "it did not take what was left" in warning
    finally:
        for_ever.set()


def test_a_sink_without_its_package_is_refused_with_what_installs_it() -> None:
    refuse_missing([Sink.tensorboard])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(MissingPackageError, match=r"pip install 'eos-sweep\[wandb\]'"):
            refuse_missing([Sink.wandb])
