"""Digests of the data that the trials of a run directory read: the same under one name, always."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.spec import Problem
from orchestrator.store import query
from orchestrator.sweep import Column, SweepError

DataKey = tuple[str, int, str, str]
"""The fields of a problem that determine its samples: dataset, n_train, subset, normalization."""


@dataclass(frozen=True)
class DataDigest:
    """The digest of what a trial read, and which trial that was, where and when."""

    digest: str
    origin: str


DataDigests = Mapping[DataKey, Sequence[DataDigest]]
"""The different digests that trials read under each key, the earliest first."""


class OtherDataError(ValueError):
    """Data that is not what earlier trials of the run directory read under the same name."""


def data_key(problem: Problem) -> DataKey:
    """Which samples a problem reads."""
    assert problem.normalization is not None
    return problem.dataset, problem.n_train, problem.subset, problem.normalization


def read_data_digests(run: Path) -> DataDigests:
    """The different digests in the rows of a run directory, where the rows have one."""
    found: dict[DataKey, list[DataDigest]] = {}
    if not (run / "trials").is_dir():
        return found
    for row in query(run, _DIGESTS).to_pylist():
        data = row["dataset"], row["n_train"], row["subset"], row["normalization"]
        origin = (
            f"trial {row['trial_id']} on {row['hostname']}, {row['finished_at']:%Y-%m-%d %H:%M}"
        )
        found.setdefault(data, []).append(DataDigest(row["data_digest"], origin))
    return found


_DIGESTS = """
SELECT dataset, n_train, subset, normalization, data_digest,
       arg_min(trial_id, finished_at) AS trial_id, arg_min(hostname, finished_at) AS hostname,
       min(finished_at) AS finished_at
FROM trials WHERE data_digest IS NOT NULL
GROUP BY ALL ORDER BY finished_at
"""


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
