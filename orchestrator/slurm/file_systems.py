"""Which file system a path lies on, and whether it is one of the machine itself."""

from __future__ import annotations

import re
from pathlib import Path

_SHARED = {
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "cvmfs", "glusterfs", "gpfs", "lustre", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
}  # fmt: skip
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuseblk")
_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system of a path, as in ``mounts`` (/proc/self/mountinfo) or here.

    Returns ``unknown`` where the system does not tell.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        except OSError:
            return "unknown"
    resolved, best, found = path.resolve(), -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        # Of two file systems mounted on one point, the later one is seen.
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), after.split(" ")[0]
    return found


def is_shared(kind: str) -> bool:
    """Whether a type of file system is one that machines share over a network."""
    return kind in _SHARED or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)
