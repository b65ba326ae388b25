"""The thread in which this process talks to Ray, so that it can be given up.

A call of Ray's client to a server that is gone returns after minutes, if at all, and heeds no
signal meanwhile. So the main thread makes none: it waits for a thread that does.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, NoReturn, TypeVar

from orchestrator.cluster.processes import shielded

NAME = "ray"

WAIT_SECONDS = 0.2
"""Between checks whether a call is to be given up."""

Result = TypeVar("Result")


class GivenUpError(Exception):
    """A call of Ray's that was not waited for any longer; its thread may hang forever."""


class RayThread:
    """One thread, which lives as long as the cluster: the system ends Ray's servers with it."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._last: Future[Any] | None = None
        self._thread = threading.Thread(target=self._serve, name=NAME, daemon=True)
        with shielded():
            self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether all that was called has returned."""
        return self._last is None or self._last.done()

    def call(
        self,
        function: Callable[..., Result],
        *arguments: Any,
        given_up: Callable[[], bool] = lambda: False,
        **named: Any,
    ) -> Result:
        """What a function returns or raises in the thread.

        Signals are heeded while it runs: what their handlers raise is raised here.

        Raises:
            GivenUpError: ``given_up`` said so before it returned.
        """
        future: Future[Result] = Future()
        self._last = future
        self._calls.put((future, lambda: function(*arguments, **named)))
        while not wait([future], WAIT_SECONDS).done:
            if given_up():
                raise GivenUpError
        return future.result()

    def settle(self, seconds: float) -> bool:
        """Wait so long for a call that was given up; whether it returned."""
        if self._last is not None:
            wait([self._last], seconds)
        return self.idle

    def close(self) -> None:
        """End the thread, if it does not hang."""
        self._calls.put(None)
        if self.idle:
            self._thread.join()

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del item, future, call


def end_process(status: int) -> NoReturn:
    """End this process; where a call of Ray's hangs, without what Ray does at a process's end."""
    if any(thread.name == NAME for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
