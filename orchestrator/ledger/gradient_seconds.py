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
    path = run / FILE
    try:
        if left_out.is_no_file(path):
            return {}
        entries = json.loads(path.read_bytes())
        found = {GradientKind(**entry["gradient"]): float(entry["seconds"]) for entry in entries}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        left_out.say(path, "it is cut or damaged")
        return {}
    return {gradient: seconds for gradient, seconds in found.items() if 0 < seconds < math.inf}


def keep_gradient_seconds(run: Path, gradient_seconds: GradientSeconds) -> None:
    """Let later readers of a run directory have these times, besides those that it has.

    Of two runs that do so at once, the times of one may be lost. What keeps the file from being
    written is passed over: no trial depends on it.
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
