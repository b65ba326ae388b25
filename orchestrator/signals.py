"""The signals that end a run. Nothing is imported here, so that they can be held back at once."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, a polite kill, a closed terminal, and what clusters send before a time limit."""


def hold() -> set[int | signal.Signals]:
    """Let signals wait from now on; returns those that waited before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
