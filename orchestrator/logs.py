"""The logs of trials: one file per process that computes, each line tagged with its trial."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from orchestrator import left_out

NAME = "eos.trial"


class _EveryLineTagged(logging.Formatter):
    """Puts time, level and trial before every line, of a traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        trial_id = getattr(record, "trial_id", "-")
        head = f"{self.formatTime(record)} {record.levelname} {trial_id} "
        return "\n".join(head + line for line in record.getMessage().splitlines() or [""])


def open_log(run: Path) -> None:
    """Send this process's trial log to its file in a run directory; another call moves it."""
    path = run / "logs" / f"{socket.gethostname()}-{os.getpid()}.log"
    logger = logging.getLogger(NAME)
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler) and handler.baseFilename == str(path.resolve()):
            return
        logger.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path.resolve(), delay=True)
    handler.setFormatter(_EveryLineTagged())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def read_log(run: Path, trial_id: str) -> Iterator[str]:
    """The lines of one trial, from all processes that worked on it, in the order of time."""
    lines = []
    for path in sorted((run / "logs").glob("*.log")):
        if left_out.is_no_file(path):
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            lines += [line.rstrip("\n") for line in file if f" {trial_id} " in line]
    yield from sorted(lines, key=lambda line: line[:23])
