"""From what the schema refuses to the one sentence that a person reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from pydantic_core import ErrorDetails

from jobs.spec import SpecError
from orchestrator.sweep.model import KEYS, VALUE_FORMS, Key
from orchestrator.sweep.sentences import SweepError, dotted, wrong

_ONLY_AT_TOP = ("name", "grids")


def refusal(errors: Sequence[ErrorDetails], path: Sequence[str | int] = ()) -> SweepError:
    """The error to show first: an unknown key, else a wrong value, else a missing key.

    ``path`` is where the validated block stands in the file.
    """
    error = min(errors, key=lambda error: _rank(error["type"]))
    loc = [*path, *_without_tags(error["loc"])]
    block, key = (loc[:2], loc[2:]) if len(loc) > 1 and loc[0] == "grids" else ([], loc)
    if _rank(error["type"]) == 0:
        return unknown_key([str(part) for part in key], block)
    expected = KEYS[dotted(key)].expected if key else "a block of keys such as problem and eta"
    if error["type"] == "missing":
        return SweepError(f"{dotted(loc)} is missing; it must be {expected}")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        return wrong(dotted(loc), cause.value, cause.expected)
    return wrong(dotted(loc), error["input"], expected)


def unknown_key(key: Sequence[str], block: Sequence[str | int] = ()) -> SweepError:
    """The error of a key that no sweep file has; names the nearest one that it has.

    ``block`` is the place in ``grids`` that the key is relative to, empty for the file itself.
    """
    known = [each for each in KEYS.values() if not (block and each.path in _ONLY_AT_TOP)]
    parents = {each.parent for each in known}
    parent = ".".join(key[:-1]) if ".".join(key[:-1]) in parents else ""
    siblings = [each for each in known if each.parent == parent]
    given = dotted([*block, *key])
    nearest = _nearest(key[-1], siblings) or _nearest(key[-1], known)
    if nearest is None:
        names = ", ".join(each.name for each in siblings)
        where = dotted([*block, *filter(None, parent.split("."))]) or "a sweep file"
        return SweepError(f"{given} is not a known key; {where} has {names}")
    return SweepError(
        f"{given} is not a known key; did you mean {dotted([*block, *nearest.path.split('.')])}?"
    )


def _nearest(name: str, known: Iterable[Key]) -> Key | None:
    by_name = {each.name: each for each in known}
    close = difflib.get_close_matches(name, by_name, n=1)
    return by_name[close[0]] if close else None


def _without_tags(loc: Sequence[str | int]) -> Iterator[str | int]:
    """The keys alone: below ``values`` the schema puts in which form the value was read as."""
    for before, part in zip(("", *loc), loc, strict=False):
        if not (before == "values" and part in VALUE_FORMS):
            yield part


def _rank(kind: str) -> int:
    return {"extra_forbidden": 0, "invalid_key": 0, "missing": 2}.get(kind, 1)
