"""What one text says on top of another: the command line on a file, a file on its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
