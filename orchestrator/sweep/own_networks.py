"""Networks of the user's own in a sweep file: from ``FILE.py:FACTORY`` to a name by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.spec.digest import digest_of
from jobs.spec.network_name import NAMED
from orchestrator.sweep.sentences import SweepError, shown

MODELS = "models"
"""The folder of a run directory that keeps the files, each as ``DIGEST.py``."""

_KEYS = ("architecture", "problem.architecture")


def with_digests(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """What a sweep file says, every network of the user's own named with the digest of its file.

    Files are looked for from ``folder``, where the sweep file lies, and are made known to this
    process. One that is named with its digest may lie in the folder's ``models`` too.

    Raises:
        SweepError: a file cannot be read, or is not the one that its digest names.
    """
    return _each_network(content, lambda value, named: _named(value, named, folder))


def placed(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """What a sweep file in a folder says, for readers that look for its networks elsewhere."""

    def place(value: str, named: re.Match[str]) -> str:
        return str((folder / named["file"]).resolve()) + value[len(named["file"]) :]

    return _each_network(content, place)


def _each_network(
    content: Mapping[Any, Any], change: Callable[[str, re.Match[str]], str]
) -> dict[Any, Any]:
    def walked(key: object, value: object) -> Any:
        if isinstance(value, dict):
            return _each_network(value, change)
        if isinstance(value, list):
            return [walked(key, item) for item in value]
        if key in _KEYS and isinstance(value, str) and (named := NAMED.fullmatch(value)):
            return change(value, named)
        return value

    return {key: walked(key, value) for key, value in content.items()}


def _named(value: str, named: re.Match[str], folder: Path) -> str:
    file, factory, digest = named["file"], named["factory"], named["digest"]
    path = folder / file
    places = [path] if digest is None else [folder / MODELS / f"{digest}.py", path]
    for place in places:
        try:
            found = digest_of(place.read_bytes())
        except (OSError, ValueError):  # ValueError: no file can have this name
            continue
        if digest in (None, found):
            _register(found, place.resolve())
            return f"{path.name}:{factory}@{found}"
    where = " or ".join(repr(str(place)) for place in places)
    expected = "a file that can be read" if digest is None else "the file with this digest"
    raise SweepError(
        f"problem.architecture is {shown(value)}; {where} must be {expected}, and is not"
    )


def _register(digest: str, path: Path) -> None:
    from jobs.models import own  # with torch, which other sweeps need not wait for

    own.register(digest, path)
