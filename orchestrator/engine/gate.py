"""What keeps a thread that was given up from a feed that others look at."""

from __future__ import annotations

import threading

CLOSE_SECONDS = 5.0
"""How long what is being booked may take to be booked."""


class GateClosed(BaseException):
    """Raised in a thread that comes to a feed that is closed, to end what calls it."""


class Gate:
    """Entered by the thread that hands out works and books their ends, until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise GateClosed

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """Let nobody in from now on, and wait for who is within."""
        self._closed = True
        if self._lock.acquire(timeout=CLOSE_SECONDS):
            self._lock.release()
