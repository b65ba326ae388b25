"""Digests of the data that the trials of a run directory read: the same under one name, always."""

from __future__ import annotations

import datetime
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import Problem
from orchestrator.store import Store
from orchestrator.sweep import Column, SweepError

DataKey = tuple[str, int, str, str]
"""The fields of a problem that determine its samples: dataset, n_train, subset, normalization."""


@dataclass(frozen=True)
class DataDigest:
    """The digest of what a trial read, and which trial that was, where and when it ended."""

    digest: str
    trial_id: str
    hostname: str
    finished_at: datetime.datetime

    @property
    def origin(self) -> str:
        """The trial in words."""
        return f"trial {self.trial_id} on {self.hostname}, {self.finished_at:%Y-%m-%d %H:%M}"


DataDigests = Mapping[DataKey, Sequence[DataDigest]]
"""The different digests that trials read under each key, the earliest first."""

_DIFFERENT = ["dataset", "n_train", "subset", "normalization", "data_digest"]
_ORIGIN = ["trial_id", "hostname", "finished_at"]
COLUMNS = (*_DIFFERENT, *_ORIGIN, "attempt")
"""What is read of a row; a table's keys must be among them."""


class OtherDataError(ValueError):
    """Data that is not what earlier trials of the run directory read under the same name."""


def data_key(problem: Problem) -> DataKey:
    """Which samples a problem reads."""
    assert problem.normalization is not None
    return problem.dataset, problem.n_train, problem.subset, problem.normalization


def read_data_digests(run: Path) -> DataDigests:
    """The different digests in the rows of a run directory, where the rows have one."""
    if not (run / "trials").is_dir():
        return {}
    return merged(Store(run).news("trials", COLUMNS, {}, data_digests_of).parts)


def data_digests_of(rows: pa.Table) -> DataDigests:
    """The different digests in rows of trials with these :data:`COLUMNS`, where they have one."""
    found = defaultdict(list)
    rows = rows.select(COLUMNS).drop_null()
    different = rows.group_by(_DIFFERENT, use_threads=False).aggregate([])
    for values in different.to_pylist():
        its = [pc.equal(rows.column(name), value) for name, value in values.items()]
        of_digest = rows.filter(functools.reduce(pc.and_, its)).sort_by("finished_at")
        first = of_digest.select(_ORIGIN).slice(0, 1).to_pylist()[0]
        data = values["dataset"], values["n_train"], values["subset"], values["normalization"]
        found[data].append(DataDigest(values["data_digest"], **first))
    return found


def merged(parts: Iterable[DataDigests]) -> DataDigests:
    """The different digests of several parts of the tables."""
    first: dict[DataKey, dict[str, DataDigest]] = defaultdict(dict)
    for data, read in (item for part in parts for item in part.items()):
        for one in read:
            known = first[data].setdefault(one.digest, one)
            first[data][one.digest] = min(known, one, key=lambda each: each.finished_at)
    return {
        data: sorted(its.values(), key=lambda each: each.finished_at) for data, its in first.items()
    }


def refuse_mixed_data(run: Path, columns: Iterable[Column], read: DataDigests) -> None:
    """Make sure that trials ``read`` the same under each name that columns have.

    Raises:
        SweepError: they did not.
    """
    for data in dict.fromkeys(data_key(column.problem) for column in columns):
        if len(reads := read.get(data, [])) > 1:
            one, other = reads[:2]
            raise SweepError(
                f"run directory {run} has trials that read different data as {_named(data)}: "
                f"digest {one.digest} ({one.origin}) and {other.digest} ({other.origin}); each "
                "must have a run directory of its own (--run-dir)"
            )


def refuse_other_data(problem: Problem, digest: str, read: Mapping[DataKey, DataDigest]) -> None:
    """Make sure that a problem reads what earlier trials read under the same name.

    Raises:
        OtherDataError: it does not.
    """
    data = data_key(problem)
    before = read.get(data)
    if before is not None and before.digest != digest:
        raise OtherDataError(
            f"dataset {_named(data)} has the digest {digest} here; it must be {before.digest}, "
            f"which {before.origin}, read under this name: another run directory (--run-dir) may "
            "have other data"
        )


def _named(data: DataKey) -> str:
    dataset, n_train, subset, normalization = data
    return f"{dataset} (n_train {n_train}, subset {subset}, normalization {normalization})"
