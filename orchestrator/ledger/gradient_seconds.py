"""The gradients that runs timed when they began: a file of the run directory, for predictions."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from orchestrator import left_out
from orchestrator.plan import GradientKind, GradientSeconds
from orchestrator.store import StoreError, write_bytes_whole

FILE = "timed.json"


def read_gradient_seconds(run: Path) -> dict[GradientKind, float]:
    """Seconds of each gradient that was timed; none where the file is not there or is damaged."""
    try:
        found = left_out.read(run / FILE, _entries) or {}
    except OSError as error:
        left_out.say(run / FILE, f"it cannot be read ({error.strerror})")
        return {}
    return {gradient: seconds for gradient, seconds in found.items() if 0 < seconds < math.inf}


def keep_gradient_seconds(run: Path, gradient_seconds: GradientSeconds) -> None:
    """Add these times to those that a run directory keeps.

    Of two runs that do so at once, the times of one may be lost. An error while writing is ignored,
    because no trial depends on the file.
    """
    known = read_gradient_seconds(run)
    if known.items() >= gradient_seconds.items():
        return
    entries = [
        {"gradient": asdict(gradient), "seconds": seconds}
        for gradient, seconds in (known | dict(gradient_seconds)).items()
    ]
    with suppress(StoreError):
        write_bytes_whole(run / FILE, json.dumps(entries, indent=1).encode())


def _entries(text: str) -> dict[GradientKind, float]:
    entries = json.loads(text)
    return {GradientKind(**entry["gradient"]): float(entry["seconds"]) for entry in entries}
