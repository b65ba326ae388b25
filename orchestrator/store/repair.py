"""What a killed process leaves behind, and files that turned out damaged."""

from __future__ import annotations

import logging
import os
import re
import socket
from pathlib import Path

from jobs.whole_file import SUFFIX
from orchestrator.store.clock import file_time
from orchestrator.store.write import file_errors

DAMAGED = ".damaged"
"""How the name of a file ends that was set aside; no reader takes such a file."""

_FOREIGN_AGE_S = 3600.0
_WRITER = re.compile(r"\.(?P<host>[^/]+)\.(?P<pid>\d+)" + re.escape(SUFFIX))

log = logging.getLogger(__name__)


def remove_orphaned_temporaries(run: Path) -> list[Path]:
    """Remove the temporary files under ``run`` whose writer is dead, and return their paths.

    A writer on this host is dead when its process is; one on another host when its file has not
    changed for an hour.
    """
    removed = []
    for path in sorted(run.rglob(f".*{SUFFIX}")):
        if _is_orphan(path):
            with file_errors(path, "removed"):
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_orphan(path: Path) -> bool:
    writer = _WRITER.fullmatch(path.name)
    if writer is None:
        return False
    if writer["host"].endswith(f".{socket.gethostname()}"):
        return not _is_alive(int(writer["pid"]))
    try:
        return file_time(path.parent) - path.stat().st_mtime > _FOREIGN_AGE_S
    except OSError:  # it is gone, or nothing can be written here
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def set_aside(path: Path, reason: str) -> Path:
    """Rename a damaged file so that no reader takes it, log why, and return its new path.

    Nothing is deleted: ``x.parquet`` becomes ``.x.parquet.damaged``, or ``.damaged-2`` and so on.
    The dot in front is what makes pyarrow and pandas ignore it when they read the whole folder.

    Raises:
        StoreError: the file is gone or cannot be renamed.
    """
    aside = path.with_name(f".{path.name}{DAMAGED}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f".{path.name}{DAMAGED}-{number}")
    with file_errors(path, "set aside"):
        path.rename(aside)
    log.warning("%s is damaged (%s); it is set aside as %s", path, reason, aside.name)
    return aside
