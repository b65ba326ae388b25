"""Calls of Ray's are made in a thread that can be given up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.cluster.ray_thread import GivenUpError, RayThread


@pytest.fixture
def thread():
    made = RayThread()
    yield made
    made.settle(10)
    made.close()


def test_a_call_returns_and_raises_what_the_function_does(thread):
    where = thread.call(threading.current_thread)
    assert where is not threading.main_thread()
    assert thread.call(threading.current_thread) is where
    with pytest.raises(KeyError, match="which"):
        thread.call({}.__getitem__, "which")
    assert thread.idle


def test_a_call_that_hangs_is_given_up_and_may_return_later(thread):
    go_on = threading.Event()
    with pytest.raises(GivenUpError):
        thread.call(go_on.wait, given_up=lambda: True)
    assert not thread.idle
    assert not thread.settle(0)
    go_on.set()
    assert thread.settle(10)
    assert thread.call(str, 7) == "7"


def test_signals_are_heeded_while_a_call_hangs(thread):
    def alarm(number, frame):
        raise TimeoutError("the alarm")

    go_on, before = threading.Event(), signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(TimeoutError, match="the alarm"):
            thread.call(go_on.wait)
    finally:
        signal.signal(signal.SIGALRM, before)
        go_on.set()


HANGS = """
import atexit, sys, threading
from orchestrator.cluster.ray_thread import GivenUpError, RayThread, end_process
atexit.register(print, "what Ray does at the end")
thread = RayThread()
if sys.argv[1] == "hangs":
    try:
        thread.call(threading.Event().wait, given_up=lambda: True)
    except GivenUpError:
        print("given up")
thread.close()
end_process(130)
"""


@pytest.mark.parametrize(
    ("how", "said"), [("hangs", "given up\n"), ("ends", "what Ray does at the end\n")]
)
def test_a_process_whose_call_hangs_ends_without_what_ray_would_do(how, said):
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, how], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (130, said)
