"""Stays the parent of a node's slurmd and of all that ever descends from it.

SLURM detaches the steps of its jobs, and jobs may detach what they start. As a subreaper the keeper
inherits all of those, so that a node's processes can be found whatever they do. It ends when the
last of them has ended.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36


def keep(argv: list[str]) -> None:
    """Run a program as a child; return when it and all its descendants are gone."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    os.posix_spawn(argv[0], argv, os.environ)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


if __name__ == "__main__":
    keep(sys.argv[1:])
