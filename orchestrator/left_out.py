"""Files of a run directory that cannot be read and are left out: each is named once a process."""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

Content = TypeVar("Content")

log = logging.getLogger(__name__)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_said: set[tuple[Path, Hashable]] = set()


def say(path: Path, reason: str, version: Hashable = None) -> None:
    """Log that a file is left out and why, unless that was said of this ``version`` of it."""
    if (path, version) not in _said:
        _said.add((path, version))
        log.warning("%s is left out: %s", path, reason)


def read(path: Path, parse: Callable[[str], Content]) -> Content | None:
    """The content of a text file; None where it is gone, or torn or no file, which is said once.

    Raises:
        OSError: the system does not let it be read.
    """
    try:
        return None if is_no_file(path) else parse(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        say(path, "it is cut or damaged")
        return None


def is_no_file(path: Path) -> bool:
    """Whether a path is something else than a file, which is said once.

    Raises:
        OSError: the system does not say.
    """
    if (reason := why_no_file(path)) is None:
        return False
    say(path, reason)
    return True


def why_no_file(path: Path) -> str | None:
    """What a path is that is no file, in a sentence; None for a file, and where there is nothing.

    It is asked before a path is opened: who opens a named pipe waits until somebody writes to it.

    Raises:
        OSError: the system does not say.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "it is a link to nothing" if path.is_symlink() else None
    except OSError:
        if path.is_symlink():  # to itself
            return "it is a link to nothing"
        raise
    return next((f"it is {kind}" for is_kind, kind in _KINDS if is_kind(mode)), None)
