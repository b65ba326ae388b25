"""The sweep file of a run directory: sweeps are added to it, also while runs work on it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cluster import Allocation
from orchestrator.engine.capacity import columns_that_fit, refuse_full_disk
from orchestrator.ledger.data_digests import read_data_digests, refuse_mixed_data
from orchestrator.run_directory import SWEEP, has_sweep, refuse_unusable, sweep_of
from orchestrator.store import Identity, create, identity, write_bytes_whole
from orchestrator.store.files import file_errors
from orchestrator.sweep import Column, Sweep, SweepError, dump
from orchestrator.sweep.own_data import refuse_changed_data
from orchestrator.sweep.user_files import keep_files

LOCK_SECONDS = 20.0
"""How long :func:`prepare` waits for another process that writes the sweep file."""


def prepare(run: Path, sweep: Sweep) -> Sweep:
    """Make the run directory ready for a sweep; returns the whole sweep of the directory.

    ``sweep.yaml`` keeps what earlier sweeps of the same name asked for and adds this one; networks
    of the user's own are copied to ``models``.

    Raises:
        SweepError: the directory cannot be one, belongs to a sweep of another name, the two do not
            fit, or trials of the directory read different data under one name.
        StoreError: the directory cannot be written to.
    """
    _, whole = _extended(run, sweep)  # refused before anything is made
    refuse_full_disk(run, sweep.columns)
    refuse_mixed_data(run, whole.columns, read_data_digests(run))
    create(run)
    with _locked(run):
        old, whole = _extended(run, sweep)
        keep_files(run, (column.problem for column in whole.columns))
        if whole != old:
            write_bytes_whole(run / SWEEP, dump(whole).encode())
    return whole


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Hold the lock of the sweep file, so that no other process writes between reading and writing.

    Where the file system has no locks, or the lock is not free in time, this continues without.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with file_errors(run, "written to"):
        descriptor = os.open(run / ".sweep.lock", flags, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
                continue
            except OSError:
                pass
            break
        yield
    finally:
        os.close(descriptor)


def check_directory(run: Path, sweep: Sweep) -> None:
    """Make sure that :func:`prepare` would accept a run directory for a sweep; changes nothing.

    Raises:
        SweepError: as there.
    """
    _, whole = _extended(run, sweep)
    refuse_mixed_data(run, whole.columns, read_data_digests(run))


def _extended(run: Path, sweep: Sweep) -> tuple[Sweep | None, Sweep]:
    """The sweep of a run directory if it has one, and the whole sweep with this one.

    Raises:
        SweepError: as in :func:`prepare`.
    """
    refuse_unusable(run)
    old = sweep_of(run) if has_sweep(run) else None
    if old is not None and old.name != sweep.name:
        raise SweepError(
            f"run directory {run} belongs to sweep {old.name!r}; sweep {sweep.name!r} must have "
            "another (--run-dir)"
        )
    if old is None:
        return None, sweep
    refuse_changed_data(old.columns, sweep.columns)
    return old, old.extended_by(sweep)


class GrowingSweep:
    """The sweep of a run directory, read again whenever its file changes.

    Args:
        run: the run directory.
        allocation: the machines that its trials must fit; columns that do not are left to others.
        warn: told once of each reason why columns are left to others.

    Attributes:
        reasons: why columns are left to others, in sentences.
    """

    def __init__(self, run: Path, allocation: Allocation, warn: Callable[[str], None]) -> None:
        self._run, self._allocation, self._warn = run, allocation, warn
        self._identity: Identity | None = None
        self.reasons: tuple[str, ...] = ()

    def read(self) -> tuple[Column, ...] | None:
        """All columns that fit the machines; None where the file has not changed since.

        A file that cannot be used gives a warning, and the sweep stays what it was.
        """
        path = self._run / SWEEP
        os.listdir(self._run)  # noqa: PTH208 (makes a network file system refresh its cache)
        found = identity(path)
        if found is None or found == self._identity:
            return None
        self._identity = found
        try:
            columns = sweep_of(self._run).columns
        except (SweepError, ValueError) as error:
            self._tell(f"{path} has changed and cannot be used ({error}); the change is ignored")
            return None
        fit, reasons = columns_that_fit(columns, self._allocation)
        if reasons:
            self._tell(f"{len(columns) - len(fit)} columns are left to other jobs: {reasons[0]}")
        return fit

    def _tell(self, message: str) -> None:
        if message not in self.reasons:
            self.reasons = (*self.reasons, message)
            self._warn(message)
