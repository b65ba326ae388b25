"""An orderly end on a signal: one flag that all trials see at a step's edge."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from jobs.whole_file import temporary_name

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, a polite kill, a closed terminal, and what clusters send before a time limit."""

GRACE_SECONDS = 10.0
"""What trials get to checkpoint before the run ends without them; the last checkpoint stays."""


class Overdue(BaseException):
    """Raised in the main thread when the trials did not end within the grace time."""


class Interruption:
    """While this context is open, the first signal asks for an orderly end, the second forces it.

    ``stop_file`` appears with the first signal, or with :meth:`request`; trials watch for it.
    """

    def __init__(self, run: Path, token: str) -> None:
        self.stop_file = temporary_name(run / "claims" / f"stop-{token[:16]}")
        self.requested = False
        self.signalled = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _raise_overdue)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.stop_file.unlink(missing_ok=True)

    def reinstall(self) -> None:
        """Take the signals back from a library that has put its own handlers in."""
        for number in SIGNALS:
            if number in self._before:
                signal.signal(number, self._on_signal)

    def request(self) -> None:
        """Ask every trial to save itself and end."""
        if self.requested:
            return
        self.requested = True
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)
        try:
            self.stop_file.touch()
        except OSError:
            return  # nothing can be written: the grace time ends the run

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signalled:
            raise Overdue
        self.signalled = True
        self.request()


def _raise_overdue(number: int, frame: FrameType | None) -> None:
    raise Overdue
