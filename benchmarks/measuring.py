"""Time and memory of a function, and tables of them."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of a function, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_turns(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median milliseconds of functions that run in turns."""
    rounds = [[timed(function)[0] for function in functions] for _ in range(repeats)]
    return [1e3 * statistics.median(times) for times in zip(*rounds, strict=True)]


def peak_memory(function: Callable[[], Result]) -> tuple[float, Result]:
    """MiB by which the process outgrows what it was, and what the function returned (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    result = function()
    return resident("VmHWM") - before, result


def resident(field: str) -> float:
    """MiB of a field of this process's status: VmRSS is what it has now, VmHWM what it had most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def table(heads: list[str], rows: list[list[str]], markdown: bool) -> None:
    """Print rows of text in aligned columns, or as Markdown."""
    if markdown:
        for row in (heads, ["---"] * len(heads), *rows):
            print(f"| {' | '.join(row)} |")
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for name, *numbers in (heads, *rows):
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *cells]).rstrip(), flush=True)
