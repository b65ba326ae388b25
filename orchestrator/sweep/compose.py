"""Sweep files that build on others: ``base`` is what a file leaves out, ``unite`` are its grids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.sweep.sentences import SweepError, shown
from orchestrator.sweep.text import read, read_file

DEEPEST = 10
"""Files that build on one another: more is a circle."""

Merge = Callable[[Mapping[Any, Any], Mapping[Any, Any]], dict[Any, Any]]


def on_base(content: dict[Any, Any], folder: Path, merged: Merge, depth: int = 0) -> dict[Any, Any]:
    """What a file says, on top of what the file says that it names as its ``base``.

    Of a base everything counts but its name. It is looked for from ``folder``.

    Raises:
        SweepError: the base cannot be read, or is its own base.
    """
    if "base" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "base"}
    path = folder / _file_name("base", content["base"])
    if depth == DEEPEST:
        raise SweepError(f"base is {shown(content['base'])}; it must not lead back to itself")
    named = f"the base {str(path)!r}"
    below = on_base(read(read_file(path, named), named), path.parent, merged, depth + 1)
    below.pop("name", None)
    return merged(below, own)


def united_files(content: Mapping[Any, Any], folder: Path) -> list[Path]:
    """The files whose grids a file unites, as ``unite`` lists them.

    Raises:
        SweepError: it is no list of files, or stands beside a grid of its own.
    """
    listed = content["unite"]
    if not isinstance(listed, list) or not listed:
        raise SweepError(f"unite is {shown(listed)}; it must be a list of sweep files")
    others = sorted(str(key) for key in content if key not in ("name", "unite"))
    if others:
        raise SweepError(
            f"{others[0]} stands beside unite; it must stand in one of the files that are united"
        )
    return [folder / _file_name("unite", each) for each in listed]


def _file_name(key: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise SweepError(f"{key} is {shown(value)}; it must be the name of a sweep file")
    return value
