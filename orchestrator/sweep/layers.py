"""What one text says on top of another: a file on its base, the command line on a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.sweep.errors import SweepError, shown
from orchestrator.sweep.user_files import placed
from orchestrator.sweep.yaml_text import read, read_file

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


_Path = tuple[str | int, ...]
Content = dict[Any, Any]

_WHOLE = (("eta", "values"), ("problem", "seed"))
"""Keys that a block is one value of, such as ``{repeat: 3}``: it is replaced, not merged."""


def merged(base: Mapping[Any, Any], change: Mapping[Any, Any], path: _Path = ()) -> Content:
    """``base`` with ``change`` on top, block by block; lists, ranges and rows are replaced."""
    found = dict(base)
    for key, value in change.items():
        below = (*path, key)
        if isinstance(value, dict) and below not in _WHOLE:
            old = found.get(key)
            found[key] = merged(old if isinstance(old, dict) else {}, value, below)
        else:
            found[key] = value
    return found


def gathered(base: Mapping[Any, Any], change: Mapping[Any, Any]) -> Content:
    """Both of two overrides as one change, which may say several keys of one range or row."""
    found = dict(base)
    for key, value in change.items():
        old = found.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            value = gathered(old, value)
        found[key] = value
    return found


def on_top(content: Content, changes: Mapping[Any, Any]) -> Content:
    """A file with changes that win over it, over its blocks, and over what its conditions change.

    Changes that have ``grids`` of their own bring those in place of the file's.
    """
    found = merged(_without(content, changes), changes)
    blocks = found.get("grids")
    if isinstance(blocks, list) and "grids" not in changes:
        of_blocks = {key: value for key, value in changes.items() if key != "name"}
        found["grids"] = [
            merged(_without(block, changes), of_blocks) if isinstance(block, dict) else block
            for block in blocks
        ]
    return found


def _without(content: Content, changes: Mapping[Any, Any]) -> Content:
    """A block whose conditions leave alone what the changes say."""
    conditions = content.get("when")
    if not isinstance(conditions, list) or "when" in changes:
        return content
    left = [_left_of(each, changes) if isinstance(each, dict) else each for each in conditions]
    return {**content, "when": [each for each in left if each is not None]}


def _left_of(condition: Content, changes: Mapping[Any, Any]) -> Content | None:
    """A condition without what is changed anyway; None if nothing is left."""
    left = dict(condition)
    for name, changed in changes.items():
        block = left.get(name)
        if isinstance(block, dict) and isinstance(changed, dict):
            left[name] = {key: value for key, value in block.items() if key not in changed}
            if not left[name]:
                del left[name]
    return None if left != condition and set(left) <= {"match"} else left
