"""Files that appear whole or not at all, whatever kills the writer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

SUFFIX = ".tmp"


def temporary_name(path: Path) -> Path:
    """Where this process prepares ``path``: hidden, in the same folder, with host and process."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{SUFFIX}")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, flush it to disk, and give it its name in one step.

    A file of that name is replaced. When anything fails, the temporary file is removed.
    """
    temporary = temporary_name(path)
    try:
        write(temporary)
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
