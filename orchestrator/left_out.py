"""Files of a run directory that cannot be read and are left out: each is named once a process."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from pathlib import Path

log = logging.getLogger(__name__)

_said: set[tuple[Path, Hashable]] = set()


def say(path: Path, reason: str, version: Hashable = None) -> None:
    """Log that a file is left out and why, unless that was said of this ``version`` of it."""
    if (path, version) not in _said:
        _said.add((path, version))
        log.warning("%s is left out: %s", path, reason)
