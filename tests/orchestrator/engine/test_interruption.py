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
from support.waiting import wait_for

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
    # Whoever starts the tests behind a shell or nohup has some of them ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


def until_taken(number: signal.Signals) -> None:
    wait_for(lambda: number not in signal.sigpending(), 10)


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
    with Interruption(run, "a" * 32):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Overdue):
            os.kill(os.getpid(), signal.SIGTERM)


def test_in_a_job_further_signals_do_not_force_the_end(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True, grace=60) as interruption:
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1):
            os.kill(os.getpid(), number)
            until_taken(number)
        assert interruption.stop == Stop("signal", "SIGUSR2")


def test_a_warning_leaves_more_time_than_what_follows_it(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True, grace=60):
        os.kill(os.getpid(), signal.SIGUSR2)
        wait_for(lambda: GRACE_SECONDS < left() <= 60, 10)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: 0 < left() <= GRACE_SECONDS, 10)


def test_the_first_reason_is_the_reason(run: Path) -> None:
    with Interruption(run, "a" * 32, patient=True) as interruption:
        interruption.request(Stop("time_limit", "near its end"))
        os.kill(os.getpid(), signal.SIGTERM)
        until_taken(signal.SIGTERM)
    assert interruption.stop == Stop("time_limit", "near its end")


def test_trials_that_do_not_stop_are_left_behind(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.interruption.GRACE_SECONDS", 0.2)
    with Interruption(run, "a" * 32, grace=0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Overdue):
            time.sleep(30)


def test_nothing_is_forced_while_a_run_clears_up(run: Path) -> None:
    with Interruption(run, "a" * 32) as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.settle()
        assert left() == 0.0
        os.kill(os.getpid(), signal.SIGINT)


JOB = """
import ctypes, os, signal, sys, time
from pathlib import Path
from orchestrator.signals import hold
hold()
import pyarrow.compute  # has threads of its own
early = sys.argv[2] == "early"
if early:
    os.kill(os.getpid(), signal.SIGUSR2)
from orchestrator.engine.interruption import Interruption
with Interruption(Path(sys.argv[1]), "a" * 32, patient=True, grace=60) as interruption:
    pyarrow.compute.sum(pyarrow.chunked_array([range(10_000)] * 100))
    # As libraries do behind Python's back: the system's way, which ends the process.
    ctypes.CDLL(None).signal(int(signal.SIGUSR2), 0)
    if not early:
        os.kill(os.getpid(), signal.SIGUSR2)
    while interruption.stop is None:
        time.sleep(0.01)
    print(interruption.stop)
for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP):
    os.kill(os.getpid(), number)
print("at its end")
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_job_heeds_a_signal_at_any_time_and_is_cut_short_by_none(run: Path, when: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", JOB, run, when],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout.splitlines() == [
        "Stop(reason='signal', detail='SIGUSR2')",
        "at its end",
    ], ended


IMPATIENT = """
import os, signal, sys, time
from pathlib import Path
from orchestrator.signals import hold
hold()
from orchestrator.engine.interruption import Interruption, Overdue
try:
    with Interruption(Path(sys.argv[1]), "a" * 32, patient=True, grace=60) as interruption:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            while number in signal.sigpending():
                time.sleep(0.01)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(5)
except Overdue:
    print("ended by force", interruption.stop)
"""


def test_in_a_job_a_ctrl_c_after_another_signal_forces_the_end(run: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPATIENT, run],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout == "ended by force Stop(reason='signal', detail='SIGTERM')\n", ended
