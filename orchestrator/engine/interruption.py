"""An orderly end: one flag that all trials see at a step's edge, raised by a signal or a reason."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from jobs.whole_file import temporary_name
from orchestrator.signals import SIGNALS, hold
from orchestrator.store import LEASES

GRACE_SECONDS = 10.0
"""What trials get to checkpoint before the run ends without them; the last checkpoint stays."""

AGAIN_SECONDS = 15.0
"""Between attempts to end by force: an exception that is raised where a library is called back may
be lost there."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that come well before the end; after the others little time may be left."""

LISTEN_SECONDS = 0.2
"""How soon the thread that takes a job's signals sees that the run is over."""

Reason = Literal[
    "signal", "time_limit", "node_lost", "unfit_nodes", "superseded", "idle", "budget", "halted"
]  # fmt: skip


@dataclass(frozen=True)
class Stop:
    """Why a run ends before its work is done; ``detail`` is a signal's name, or what happened."""

    reason: Reason
    detail: str


class Overdue(BaseException):
    """Raised in the main thread when the trials did not end within the grace time."""


class Interruption:
    """While this context is open, a signal or :meth:`request` asks for an orderly end.

    ``stop_file`` appears then; trials watch for it. A second signal forces the end, unless the
    context is ``patient``: a cluster sends one end in several signals.

    Args:
        run: the run directory.
        token: the run's own name.
        patient: whether this is a job: only a second Ctrl-C forces the end. Signals are then held
            back for good, and a thread takes those that come, or that came before: whatever a
            library makes of them meanwhile, none ends the process.
        grace: seconds for the trials to stop after a warning; after other signals it is at most
            :data:`GRACE_SECONDS`.

    Attributes:
        stop_file: appears when the run is to end.
        stop: why the run is to end, if it is.
    """

    def __init__(
        self, run: Path, token: str, *, patient: bool = False, grace: float = GRACE_SECONDS
    ) -> None:
        self.stop_file = temporary_name(run / LEASES / f"stop-{token[:16]}")
        self.stop: Stop | None = None
        self._patient, self._grace = patient, max(grace, GRACE_SECONDS)
        self._settled = False
        self._over = threading.Event()
        self._listener: threading.Thread | None = None
        self._mask: set[int | signal.Signals] = set()
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self.stop is not None

    @property
    def lost(self) -> str | None:
        """What the run has lost, if that is why it is to end."""
        stop = self.stop
        return stop.detail if stop is not None and stop.reason == "node_lost" else None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
            if self._patient:
                self._mask = hold()
                self._listener = threading.Thread(target=self._listen, name="signals", daemon=True)
                self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._listener is not None:
            self._listener.join()
        self.settle()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._listener is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self.stop_file.unlink(missing_ok=True)

    def request(self, stop: Stop, grace: float | None = None) -> None:
        """Ask every trial to save itself and end; the first to ask says why."""
        if self.stop is not None:
            return
        self.stop = stop
        if self._before:
            seconds = self._grace if grace is None else grace
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
        try:
            self.stop_file.touch()
        except OSError:
            return  # nothing can be written: the grace time ends the run

    def settle(self) -> None:
        """From now on nothing is forced: the trials have ended, and what is left is clearing up."""
        self._settled = True
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _listen(self) -> None:
        heeded = set(self._before).intersection(SIGNALS)
        while not self._over.is_set():
            seen = signal.sigtimedwait(heeded, LISTEN_SECONDS)
            if seen is not None:
                self._on_signal(seen.si_signo, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        sent, before = signal.Signals(number), self.stop
        if self._settled:
            return
        grace = self._grace if sent in WARNINGS else GRACE_SECONDS
        if before is None:
            self.request(Stop("signal", sent.name), grace)
        elif sent is signal.SIGINT or (not self._patient and before.reason == "signal"):
            if threading.current_thread() is threading.main_thread():
                self._end()
            signal.setitimer(signal.ITIMER_REAL, 1e-3, AGAIN_SECONDS)  # ends it there
        else:
            left, _ = signal.getitimer(signal.ITIMER_REAL)
            signal.setitimer(signal.ITIMER_REAL, min(left, grace) or grace, AGAIN_SECONDS)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._settled:
            raise Overdue
