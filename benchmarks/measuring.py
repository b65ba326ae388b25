"""Time and memory of a function."""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

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


def least(
    functions: Sequence[Callable[[], object]], device: torch.device, repeats: int, seconds: float
) -> list[float]:
    """The least milliseconds of functions that run in turns, on a device that is waited for.

    One measurement is of as many calls as fill so many seconds, and at least one.
    """

    def total(function: Callable[[], object], calls: int) -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            function()
        wait(device)
        return time.perf_counter() - start

    counts = []
    for function in functions:
        function()  # what is done once, and the memory that is kept
        counts.append(max(1, math.ceil(seconds / total(function, 1))))
    pairs = list(zip(functions, counts, strict=True))
    rounds = [[total(function, calls) / calls for function, calls in pairs] for _ in range(repeats)]
    return [1e3 * min(times) for times in zip(*rounds, strict=True)]


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_on(device: torch.device, function: Callable[[], Result]) -> tuple[float, Result]:
    """MiB that the tensors of a function take most at once, on a GPU; else :func:`peak_memory`."""
    if device.type != "cuda":
        return peak_memory(function)
    gc.collect()
    before = occupied(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = function()
    wait(device)
    return torch.cuda.max_memory_allocated(device) / 2**20 - before, result


def occupied(device: torch.device) -> float:
    """MiB that tensors take on a GPU now, or the process on a CPU."""
    if device.type != "cuda":
        return resident("VmRSS")
    wait(device)
    return torch.cuda.memory_allocated(device) / 2**20


def peak_memory(function: Callable[[], Result]) -> tuple[float, Result]:
    """MiB by which the process outgrows what it was, and what the function returned (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark restarts
    before = resident("VmRSS")
    result = function()
    return resident("VmHWM") - before, result


def resident(field: str) -> float:
    """MiB of a field of this process's status: VmRSS is what it has now, VmHWM what it had most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
