"""The private folder of one cluster on one machine: on a local disk, with a short name."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from orchestrator.ledger.process import ProcessIdentity

LONGEST_ROOT = 40
"""Ray adds some 65 characters to its folder for its sockets, whose paths may have 107."""


def private_folder(root: Path | None = None) -> Path:
    """A new folder for this process only; those that dead processes left are removed.

    Args:
        root: where temporary folders belong; the system's place unless given.

    Raises:
        PermissionError: another user has taken our place there.
    """
    place = (root or usual_root()) / f"eos-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid() or place.is_symlink():
        raise PermissionError(
            f"{place} belongs to another user; it must be yours, or TMPDIR another"
        )
    for left in abandoned(place):
        shutil.rmtree(left, ignore_errors=True)
    own = ProcessIdentity.own()
    folder = place / f"{own.pid}-{own.started}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def usual_root() -> Path:
    """The system's place for temporary folders; /tmp where its name is too long for Ray."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= LONGEST_ROOT else Path("/tmp")


def abandoned(place: Path) -> list[Path]:
    """The folders of clusters whose leading process on this machine is dead."""
    left = []
    for folder in place.iterdir():
        pid, _, started = folder.name.partition("-")
        if pid.isdigit() and started.isdigit() and _gone(int(pid), int(started)):
            left.append(folder)
    return left


def _gone(pid: int, started: int) -> bool:
    own = ProcessIdentity.own()
    owner = ProcessIdentity(own.hostname, own.boot, own.namespace, pid, started)
    return owner.is_dead() is True
