"""Files of the user that a sweep names, its networks and data: named by content, kept with the run.

Each is looked for from the folder of the sweep file; the problems of the sweep have its digest in
their names, and a run directory keeps a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.spec import Problem
from orchestrator.sweep import custom_code, own_data


def with_digests(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file, with every file of the user named by its content and known in
    this process.

    Raises:
        SweepError: a file cannot be read or used, or is not the one that its digest names.
    """
    return own_data.with_digests(custom_code.with_digests(content, folder), folder)


def placed(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file in a folder, for readers whose paths start elsewhere."""
    return own_data.placed(custom_code.placed(content, folder), folder)


def keep_files(run: Path, problems: Iterable[Problem]) -> None:
    """Copy what these problems need into a run directory, and use the copies.

    Raises:
        SweepError: a file has changed since the sweep was read.
        StoreError: the directory cannot be written to.
    """
    problems = list(problems)
    custom_code.keep(run, problems)
    own_data.keep(run, problems)


def find_files(run: Path, problems: Iterable[Problem]) -> None:
    """Let this process find what a run directory keeps for these problems."""
    problems = list(problems)
    custom_code.find(run, problems)
    own_data.find(run, problems)
