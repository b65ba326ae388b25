"""What was measured on devices, and what decides in a run directory which trials are batched."""

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
from jobs.device_speed import Calibration
from jobs.whole_file import temporary_name
from orchestrator import left_out
from orchestrator.engine.devices import gpu_names
from orchestrator.store import StoreError, write_bytes_whole

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
            measured = self._of_this_machine(kind)
            _keep_first(path, measured)
            known = left_out.read(path, _parse) or measured
        return known

    def _of_this_machine(self, kind: str) -> BatchBounds:
        try:
            return calibrated(kind).bounds
        except CalibrationError as error:
            self._warn(
                f"batches could not be measured on this machine ({error}); the default is taken"
            )
            return MEASURED_ONCE if kind == "cpu" else BatchBounds(0, 0)


class CalibrationError(RuntimeError):
    """A device could not be measured; says why."""


def calibrated(kind: str) -> Calibration:
    """What was measured on this machine's device of a kind, ``cpu`` or ``cuda``, before or now.

    It is kept in the data root, where there is one.

    Raises:
        CalibrationError: it could not be measured.
    """
    name = device_name(kind)
    if (known := kept(kind, name)) is not None:
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
        found = Calibration.from_json(json.loads(ended.stdout.splitlines()[-1]))
    except (
        *(OSError, subprocess.SubprocessError),
        *(IndexError, ValueError, TypeError, KeyError),
    ) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise CalibrationError(reason) from error
    if data_root().is_dir():  # a run makes none, least of all in a home
        keep(kind, name, found)
    return found


def kept(kind: str, name: str) -> Calibration | None:
    """What was measured before on a device of that name, here or on another machine."""
    with suppress(OSError):
        return left_out.read(
            _kept_path(kind, name), lambda text: Calibration.from_json(json.loads(text))
        )
    return None


def keep(kind: str, name: str, calibration: Calibration) -> None:
    """Keep what was measured on a device in the data root; what cannot be written is not kept."""
    path, content = _kept_path(kind, name), json.dumps(calibration.to_json()).encode()
    with suppress(OSError, StoreError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_whole(path, content)


def device_name(kind: str) -> str:
    """The name of this machine's device of a kind, as far as it says how fast it is."""
    return next(iter(gpu_names()), "unknown") if kind == "cuda" else _cpu_name()


def _kept_path(kind: str, name: str) -> Path:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", f"{kind} {name}").strip("-")
    return data_root() / KEPT / f"{plain}.json"


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
