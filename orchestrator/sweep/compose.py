"""Sweep files that build on others: ``base`` is what a file leaves out, ``unite`` are its grids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.sweep.changes import Content, on_top
from orchestrator.sweep.custom_networks import placed
from orchestrator.sweep.sentences import SweepError, shown
from orchestrator.sweep.text import read, read_file

Above = tuple[Path, ...]
"""The files that led to one: none of them may come again."""


def on_base(content: Content, folder: Path, above: Above = ()) -> Content:
    """What a file says, on top of what the file says that it names as its ``base``.

    Of a base everything counts but its name; what the file says wins as it does on the command
    line. The base is looked for from ``folder``, and what the base names from the base's own.

    Raises:
        SweepError: the base cannot be read, or is its own base.
    """
    if "base" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "base"}
    path = folder / _file_name("base", content["base"])
    way = further(above, path, "base", content["base"])
    named = f"the base {str(path)!r}"
    below = on_base(read(read_file(path, named), named), path.parent, way)
    below.pop("name", None)
    if path.parent.resolve() != folder.resolve():
        below = placed(below, path.parent)
        listed = below.get("unite")
        if isinstance(listed, list):
            below["unite"] = [
                str((path.parent / each).resolve()) if isinstance(each, str) else each
                for each in listed
            ]
    return on_top(below, own)


def further(above: Above, path: Path, key: str, value: object) -> Above:
    """The way to a file that another one names.

    Raises:
        SweepError: the file is one of those that led to it.
    """
    here = path.resolve()
    if here in above:
        raise SweepError(f"{key} is {shown(value)}; it must not lead back to itself")
    return (*above, here)


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
