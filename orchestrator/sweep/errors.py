"""What is wrong with a sweep file, in one sentence: the key, its value and what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_LONGEST = 80
_LISTS_OF_BLOCKS = ("grids", "exclude", "when")


class SweepError(ValueError):
    """A sweep that cannot be run; its text is one sentence for the person who wrote the file."""


class NoColumnError(SweepError):
    """A sweep of which its exclusions leave nothing."""


def wrong(key: str, value: object, expected: str) -> SweepError:
    """The error of a key whose value is of the wrong kind or size."""
    return SweepError(f"{key} is {shown(value)}; it must be {expected}")


def dotted(path: Iterable[object]) -> str:
    """The path of a key as people write it: ``grids[1].problem.width``.

    Places in a list appear where its items are blocks: elsewhere the value itself says which one is
    meant.
    """
    parts: list[str] = []
    for part in path:
        if not isinstance(part, int):
            parts.append(_key(str(part)))
        elif parts and parts[-1] in _LISTS_OF_BLOCKS:
            parts[-1] += f"[{part}]"
    return ".".join(parts)


def shown(value: object) -> str:
    """The value on one short line, spelled as in YAML where Python's spelling differs."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    try:
        return _shortened(repr(value))
    except ValueError:  # Python refuses to spell whole numbers of more than 4,300 digits
        return "a number too long to show"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _shortened(repr(key))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
