"""Data of the user's own in a sweep: named by their numbers, and kept in the run directory."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.spec import Problem
from jobs.spec.dataset_name import DatasetName, is_own, parse
from orchestrator.sweep.content_values import each_value
from orchestrator.sweep.errors import SweepError, shown

if TYPE_CHECKING:
    from jobs.datasets.own import Arrays
    from orchestrator.sweep.columns import Column

DATA = "data"
"""The folder of a run directory that keeps the data, each as ``DIGEST.safetensors``."""


def with_digests(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file, with all own data named by the digest of their numbers, and
    known in this process.

    Files are looked for from ``folder``. What is named with a digest may lie in the folder's
    ``data`` too, and then the file is not needed.

    Raises:
        SweepError: a file cannot be read, does not have what it must have, or has other numbers
            than those that its digest names.
    """
    return each_value(content, "dataset", lambda value: _named(value, folder))


def placed(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file in a folder, for readers whose paths start elsewhere."""

    def place(value: str) -> str:
        if not _may_be_file(value):
            return value
        from orchestrator.data.own_files import own_file

        own = own_file(value)
        if own is None:
            return value
        return value.replace(own.file, str((folder / own.file).resolve()), 1)

    return each_value(content, "dataset", place)


def keep(run: Path, problems: Iterable[Problem]) -> None:
    """Write the own data of problems into a run directory, and read them there from now on.

    Raises:
        StoreError: the directory cannot be written to.
    """
    digests = _digests(problems)
    if not digests:
        return
    from jobs.datasets import own
    from orchestrator.store.files import atomic_write

    folder = run.resolve() / DATA
    for digest in digests:
        path, known = folder / f"{digest}.safetensors", own.registered(digest)
        if known is None or known == path:
            continue
        if not path.is_file():
            folder.mkdir(mode=0o700, exist_ok=True)
            arrays = known if isinstance(known, own.Arrays) else own.read(known)
            atomic_write(path, functools.partial(_write, arrays))
        own.register(digest, path)


def _write(arrays: Arrays, path: Path) -> None:
    from jobs.datasets import own

    own.write(path, arrays)


def find(run: Path, problems: Iterable[Problem]) -> None:
    """Let this process find the data of these problems that a run directory keeps."""
    for digest in _digests(problems):
        from jobs.datasets import own

        path = run / DATA / f"{digest}.safetensors"
        if path.is_file():
            own.register(digest, path)


def refuse_changed_data(old: Iterable[Column], new: Iterable[Column]) -> None:
    """Make sure that the files of a sweep have the numbers that they had when its run began.

    Raises:
        SweepError: one has other numbers; trials with both would stand under one file's name.
    """
    before, now = _by_file(old), _by_file(new)
    for base, digests in now.items():
        if base in before and not digests & before[base]:
            (found, *_), (known, *_) = sorted(digests), sorted(before[base])
            raise SweepError(
                f"problem.dataset is {base!r}, which has the digest {found}; in this run directory "
                f"it has {known}: restore the file, give it another name, or run it with another "
                "--run-dir"
            )


def _by_file(columns: Iterable[Column]) -> dict[str, set[str]]:
    """The digests of own data, by what their files are called."""
    found: dict[str, set[str]] = {}
    for dataset in {column.problem.dataset for column in columns}:
        name = parse(dataset)
        if is_own(name.base):
            found.setdefault(name.base, set()).add(name.options["digest"])
    return found


def _digests(problems: Iterable[Problem]) -> list[str]:
    names = map(parse, {problem.dataset for problem in problems})
    return sorted({name.options["digest"] for name in names if is_own(name.base)})


def _may_be_file(value: str) -> bool:
    """Whether a dataset's name can be that of a file; others need no look at files at all."""
    return any(end in value for end in (".npz", ".safetensors", ".parquet", ".py:"))


def _named(value: str, folder: Path) -> str:
    """The whole name of a dataset whose file is found."""
    if not _may_be_file(value):
        return value
    from jobs.datasets import DatasetError, own
    from orchestrator.data.own_files import own_file, read_own

    try:
        file = own_file(value)
        if file is None:
            return value
        if file.digest is not None:
            kept = folder / DATA / f"{file.digest}.safetensors"
            if kept.is_file():
                own.register(file.digest, kept)
            if own.registered(file.digest) is not None:
                return str(DatasetName(file.base, {"digest": file.digest}))
        path = folder / file.file
        arrays = read_own(file, path)
    except DatasetError as error:
        raise SweepError(f"problem.{error}") from None
    digest = arrays.digest
    if file.digest not in (None, digest):
        raise SweepError(
            f"problem.dataset is {shown(value)}; {path} has the digest {digest}: it must be the "
            "file with the digest that the name has"
        )
    own.register(digest, arrays)
    return str(DatasetName(file.base, {"digest": digest}))
