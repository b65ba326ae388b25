"""From what the schema refuses to the one sentence that a person reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from pydantic_core import ErrorDetails

from jobs.spec import SpecError
from orchestrator.sweep.errors import SweepError, dotted, wrong
from orchestrator.sweep.keys import FORMS
from orchestrator.sweep.schema import A_CONDITION, A_MATCH, KEYS, OF_FILES, Key

_WITHOUT_BRACKETS = re.compile(r"[\w.+-]+(\s*,\s*[\w.+-]+)+")

_NOT_IN: dict[str, tuple[str, ...]] = {
    "grids": ("name", "grids"),
    "when": ("name", "label", "start", "grids", "zip", "exclude", "when"),
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
    hint = _list_hint(key, error["input"])
    if error["type"] == "missing":
        return SweepError(f"{dotted(loc)} is missing; it must be {expected}")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SpecError):
        expected = cause.expected.partition(" (did you mean")[0] if hint else cause.expected
        return wrong(dotted(loc), cause.value, expected + hint)
    return wrong(dotted(loc), error["input"], expected + hint)


def unknown_key(key: Sequence[str], block: Sequence[str | int] = ()) -> SweepError:
    """The error of a key that no sweep file has; names the nearest one that it has.

    ``block`` is the place that the key is relative to, such as ``grids, 1``; empty for the file.
    """
    known = _known(block)
    parents = {each.parent for each in known}
    section = ".".join(key[:-1])
    parent = section if section in parents else ""
    siblings = [each for each in known if each.parent == parent]
    given = dotted([*block, *key])
    nearest = _nearest(key[-1], siblings) or _elsewhere(key[-1], known, close=section != parent)
    if _kind(block) == "grids" and list(key) == ["name"]:
        nearest = KEYS["label"]
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
        return [each for each in KEYS.values() if each.parent in ("problem", "optimizer")]
    own = {"when": [A_MATCH], "": OF_FILES}.get(kind, [])
    return [*(k for k in KEYS.values() if k.path not in _NOT_IN.get(kind, ())), *own]


def _expected(block: Sequence[str | int], key: Sequence[str | int]) -> str:
    """What a key must be, or the block itself if the key is empty."""
    if key:
        return {A_MATCH.path: A_MATCH, **KEYS}[dotted(key)].expected
    if _kind(block) == "grids":
        return "a block of keys such as problem and eta"
    return (A_CONDITION if _kind(block) == "when" else A_MATCH).expected


def _nearest(name: str, known: Iterable[Key]) -> Key | None:
    """The key of a section that was meant: one that is close, or begins as it was given."""
    by_name = {each.name: each for each in known}
    close = difflib.get_close_matches(name, by_name, n=1)
    begun = [full for full in by_name if len(name) > 2 and full.startswith(name)]
    return by_name[[*close, *begun][0]] if close or len(begun) == 1 else None


def _elsewhere(name: str, known: Iterable[Key], *, close: bool) -> Key | None:
    """The key of another section that was meant; one that is only ``close``, where none was named
    that there is.
    """
    known = list(known)
    same = [each for each in known if each.name == name]
    return same[0] if same else _nearest(name, known) if close else None


def _list_hint(key: Sequence[str | int], value: object) -> str:
    """Where a list is written without its brackets, the list."""
    known = KEYS.get(dotted(key))
    if known is None or not known.listed or not isinstance(value, str):
        return ""
    if not _WITHOUT_BRACKETS.fullmatch(value):
        return ""
    return f"; did you mean [{','.join(part.strip() for part in value.split(','))}]?"


def _without_tags(loc: Sequence[str | int]) -> Iterator[str | int]:
    """The keys alone: the schema puts in which form a value was read as."""
    matched = False
    for before, part in zip(("", *loc), loc, strict=False):
        if before in ("values", "seed") and part in FORMS:
            continue
        if matched and isinstance(part, str) and part.startswith(("problem.", "optimizer.")):
            yield from part.split(".", 1)
        else:
            yield part
        matched = matched or part in ("exclude", "match")


def _rank(kind: str) -> int:
    return {"extra_forbidden": 0, "invalid_key": 0, "missing": 2}.get(kind, 1)
