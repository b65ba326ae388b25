"""From what the schema refuses to the one sentence that a person reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from pydantic_core import ErrorDetails

from jobs.spec import SpecError
from orchestrator.sweep.model import A_CONDITION, A_MATCH, KEYS, Key
from orchestrator.sweep.problem_keys import FORMS
from orchestrator.sweep.sentences import SweepError, dotted, wrong

_NOT_IN: dict[str, tuple[str, ...]] = {
    "grids": ("name", "grids"),
    "when": ("name", "grids", "zip", "exclude", "when"),
}
"""Keys that the file has but the blocks of these lists have not."""


def refusal(errors: Sequence[ErrorDetails], path: Sequence[str | int] = ()) -> SweepError:
    """The error to show first: an unknown key, else a wrong value, else a missing key.

    ``path`` is where the validated block stands in the file.
    """
    error = min(errors, key=lambda error: _rank(error["type"]))
    loc = [*path, *_without_tags(error["loc"])]
    block, key = _apart(loc)
    if _rank(error["type"]) == 0:
        return unknown_key([str(part) for part in key], block)
    expected = _expected(block, key)
    if error["type"] == "missing":
        return SweepError(f"{dotted(loc)} is missing; it must be {expected}")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        return wrong(dotted(loc), cause.value, cause.expected)
    return wrong(dotted(loc), error["input"], expected)


def unknown_key(key: Sequence[str], block: Sequence[str | int] = ()) -> SweepError:
    """The error of a key that no sweep file has; names the nearest one that it has.

    ``block`` is the place that the key is relative to, such as ``grids, 1``; empty for the file.
    """
    known = _known(block)
    parents = {each.parent for each in known}
    parent = ".".join(key[:-1]) if ".".join(key[:-1]) in parents else ""
    siblings = [each for each in known if each.parent == parent]
    given = dotted([*block, *key])
    nearest = _nearest(key[-1], siblings) or _nearest(key[-1], known)
    if nearest is None:
        matched = _kind(block) == "match"
        names = ", ".join(each.path if matched else each.name for each in siblings or known)
        where = dotted([*block, *filter(None, parent.split(".") if not matched else [])])
        return SweepError(f"{given} is not a known key; {where or 'a sweep file'} has {names}")
    return SweepError(
        f"{given} is not a known key; did you mean {dotted([*block, *nearest.path.split('.')])}?"
    )


def _apart(loc: list[str | int]) -> tuple[list[str | int], list[str | int]]:
    """Where a block stands in the file, and the key in it."""
    block: list[str | int] = []
    for lists in (("grids",), ("exclude", "when")):
        if len(loc) > 1 and loc[0] in lists:
            block, loc = [*block, *loc[:2]], loc[2:]
    if _kind(block) == "when" and len(loc) > 1 and loc[0] == "match":
        block, loc = [*block, "match"], loc[1:]
    return block, loc


def _kind(block: Sequence[str | int]) -> str:
    """What a block is by its place: of a list of blocks, or what a column is matched by."""
    names = [part for part in block if isinstance(part, str)]
    last = names[-1] if names else ""
    return "match" if last == "exclude" else last


def _known(block: Sequence[str | int]) -> list[Key]:
    """The keys that a block at this place may have."""
    kind = _kind(block)
    if kind == "match":
        return [each for each in KEYS.values() if each.parent == "problem"]
    own = [A_MATCH] if kind == "when" else []
    return [*own, *(k for k in KEYS.values() if k.path not in _NOT_IN.get(kind, ()))]


def _expected(block: Sequence[str | int], key: Sequence[str | int]) -> str:
    """What a key must be, or the block itself if the key is empty."""
    if key:
        return {A_MATCH.path: A_MATCH, **KEYS}[dotted(key)].expected
    if _kind(block) == "grids":
        return "a block of keys such as problem and eta"
    return (A_CONDITION if _kind(block) == "when" else A_MATCH).expected


def _nearest(name: str, known: Iterable[Key]) -> Key | None:
    by_name = {each.name: each for each in known}
    close = difflib.get_close_matches(name, by_name, n=1)
    return by_name[close[0]] if close else None


def _without_tags(loc: Sequence[str | int]) -> Iterator[str | int]:
    """The keys alone: the schema puts in which form a value was read as."""
    matched = False
    for before, part in zip(("", *loc), loc, strict=False):
        if before in ("values", "seed") and part in FORMS:
            continue
        if matched and isinstance(part, str) and part.startswith("problem."):
            yield from part.split(".", 1)
        else:
            yield part
        matched = matched or part in ("exclude", "match")


def _rank(kind: str) -> int:
    return {"extra_forbidden": 0, "invalid_key": 0, "missing": 2}.get(kind, 1)
