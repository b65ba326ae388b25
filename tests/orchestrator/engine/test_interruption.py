"""Signals and reasons that end a run: in order first, by force only when there is no other way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.interruption import (
    GRACE_SECONDS,
    Interruption,
    Overdue,
    Stop,
)
from orchestrator.signals import SIGNALS


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "claims").mkdir()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def left() -> float:
    return signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_each_signal_asks_for_an_orderly_end(run: Path, name: str) -> None:
    before = signal.getsignal(signal.Signals[name])
    with Interruption(run, "a" * 32) as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), signal.Signals[name])
        assert interruption.stop == Stop("signal", name)
        assert interruption.stop_file.exists()
    assert not interruption.stop_file.exists()
    assert signal.getsignal(signal.Signals[name]) == before


def test_a_second_signal_forces_the_end_of_a_run_at_a_terminal(run: Path) -> None:
    with Interruption(run, "a" * 32) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Overdue):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.overdue


def test_in_a_job_further_signals_do_not_force_the_end(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True, grace=60) as interruption:
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        assert interruption.stop == Stop("signal", "SIGUSR2")
        assert not interruption.overdue


def test_a_warning_leaves_more_time_than_what_follows_it(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True, grace=60):
        os.kill(os.getpid(), signal.SIGUSR2)
        assert GRACE_SECONDS < left() <= 60
        os.kill(os.getpid(), signal.SIGTERM)
        assert 0 < left() <= GRACE_SECONDS


def test_the_first_reason_is_the_reason(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True) as interruption:
        interruption.request(Stop("time_limit", "near its end"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.stop == Stop("time_limit", "near its end")


def test_trials_that_do_not_stop_are_left_behind(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.interruption.GRACE_SECONDS", 0.2)
    with Interruption(run, "a" * 32, grace=0.2) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Overdue):
            time.sleep(30)
        assert interruption.overdue


def test_nothing_is_forced_while_a_run_clears_up(run: Path) -> None:
    with Interruption(run, "a" * 32) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.settle()
        assert left() == 0.0
        os.kill(os.getpid(), signal.SIGINT)
        assert not interruption.overdue


JOB = """
import os, signal, sys, threading, time
from pathlib import Path
from orchestrator.signals import hold
hold()
os.kill(os.getpid(), signal.SIGUSR2)
from orchestrator.engine.interruption import Interruption
with Interruption(Path(sys.argv[1]), "a" * 32, patient=True, grace=60) as interruption:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print(interruption.stop)
for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
    os.kill(os.getpid(), number)
print("at its end")
"""


def test_a_job_heeds_what_came_before_its_run_and_is_not_cut_short_after_it(run: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", JOB, run], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout.splitlines() == [
        "Stop(reason='signal', detail='SIGUSR2')",
        "at its end",
    ], ended
