"""What this machine grants the process; without torch, which the start of Ray need not wait for."""

from __future__ import annotations

import os
from pathlib import Path


def machine_memory() -> int:
    """Bytes that this process may use on this machine: its control group's limit, or all."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return physical
    return min(limit, physical)
