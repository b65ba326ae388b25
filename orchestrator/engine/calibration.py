"""Up to which size trials are batched in a run directory: measured once, and kept in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from jobs.batch_bounds import MEASURED_ONCE, BatchBounds
from jobs.datasets.root import data_root
from jobs.whole_file import temporary_name
from orchestrator import left_out
from orchestrator.engine.devices import gpu_names

FILE = "batching.{kind}.json"
"""In the run directory: what decides there which trials are batched on a kind of device."""

KEPT = "calibration"
"""The folder in the data root, where there is one, with what was measured on each device."""

TIMEOUT_SECONDS = 120.0


class RunBounds(Mapping[str, BatchBounds]):
    """The bounds of a run directory by kind of device, found when they are first asked for.

    They are those with which the directory began, whatever machine goes on with it: which trials
    are batched does not change from run to run, and so no bit of a trial on a GPU does. For a new
    directory they are measured on this machine, in a few seconds, unless they are known there.
    """

    def __init__(self, run: Path, warn: Callable[[str], None]) -> None:
        self._run, self._warn = run, warn
        self._pool = ThreadPoolExecutor(1)
        self._found: dict[str, Future[BatchBounds]] = {}

    def expect(self, kind: str) -> None:
        """Find the bounds of a kind of device in a thread, for they will be asked for."""
        if kind not in self._found:
            self._found[kind] = self._pool.submit(self._find, kind)

    def __getitem__(self, kind: str) -> BatchBounds:
        self.expect(kind)
        return self._found[kind].result()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def _find(self, kind: str) -> BatchBounds:
        path = self._run / FILE.format(kind=kind)
        if (known := left_out.read(path, _parse)) is None:
            _keep_first(path, measured := _of_this_machine(kind, self._warn))
            known = left_out.read(path, _parse) or measured
        return known


def _of_this_machine(kind: str, warn: Callable[[str], None]) -> BatchBounds:
    """What was measured here before, or now."""
    path = data_root() / KEPT / f"{_device_name(kind)}.json"
    with suppress(OSError):
        if (known := left_out.read(path, _parse)) is not None:
            return known
    try:
        # In a process of its own, which holds no GPU when it has ended.
        ended = subprocess.run(
            [sys.executable, "-m", "jobs.calibration", kind],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_SECONDS,
        )
        found = _parse(ended.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, IndexError, ValueError, TypeError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        warn(f"batches could not be measured on this machine ({reason}); the default is taken")
        return MEASURED_ONCE if kind == "cpu" else BatchBounds(0, 0)
    with suppress(OSError):  # such as no data root: a run makes none, least of all in a home
        path.parent.mkdir(exist_ok=True)
        _keep_first(path, found)
        return left_out.read(path, _parse) or found
    return found


def _device_name(kind: str) -> str:
    """The device's name, as far as it says how fast it is, for a file."""
    name = next(iter(gpu_names()), "unknown") if kind == "cuda" else _cpu_name()
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{kind} {name}").strip("-")


def _cpu_name() -> str:
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1]
    return "unknown"


def _keep_first(path: Path, bounds: BatchBounds) -> None:
    """Write a file unless it is there: of processes that do so at once, the first one wins.

    No trial depends on it: where it cannot be written, every run measures for itself.
    """
    temporary = temporary_name(path)
    try:
        with suppress(OSError):
            temporary.write_text(json.dumps(asdict(bounds)))
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _parse(text: str) -> BatchBounds:
    return BatchBounds(**json.loads(text))
