"""Networks of the user's own in a sweep file: from ``FILE.py:FACTORY`` to a name by content."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.spec.digest import digest_of
from jobs.spec.factory import asked_by
from jobs.spec.network_name import ASKABLE, NetworkName, network_name
from orchestrator.sweep.sentences import SweepError, shown

MODELS = "models"
"""The folder of a run directory that keeps the files, each as ``DIGEST.py``."""

_KEYS = ("architecture", "problem.architecture")


def with_digests(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """What a sweep file says, every network of the user's own named with the digest of its file and
    with what its factory takes.

    Files are looked for from ``folder``, where the sweep file lies, and are made known to this
    process; none is run. One that is named with its digest may lie in the folder's ``models`` too.

    Raises:
        SweepError: a file cannot be read, is not the one that its digest names, or does not say
            what its factory takes.
    """
    return _each_network(content, lambda value, named: _named(value, named, folder))


def placed(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """What a sweep file in a folder says, for readers that look for its networks elsewhere."""

    def place(value: str, named: NetworkName) -> str:
        return str(dataclasses.replace(named, file=str((folder / named.file).resolve())))

    return _each_network(content, place)


def _each_network(
    content: Mapping[Any, Any], change: Callable[[str, NetworkName], str]
) -> dict[Any, Any]:
    def walked(key: object, value: object) -> Any:
        if isinstance(value, dict):
            return _each_network(value, change)
        if isinstance(value, list):
            return [walked(key, item) for item in value]
        if key in _KEYS and isinstance(value, str) and (named := network_name(value)):
            return change(value, named)
        return value

    return {key: walked(key, value) for key, value in content.items()}


def _named(value: str, named: NetworkName, folder: Path) -> str:
    path = folder / named.file
    places = [path] if named.digest is None else [folder / MODELS / f"{named.digest}.py", path]
    for place in places:
        try:
            source = place.read_bytes()
        except (OSError, ValueError):  # ValueError: no file can have this name
            continue
        found = digest_of(source)
        if named.digest in (None, found):
            asked = _asked(value, source, named) if named.asked is None else named.asked
            _register(found, place.resolve())
            return str(NetworkName(path.name, named.factory, asked, found))
    where = " or ".join(repr(str(place)) for place in places)
    expected = "a file that can be read" if named.digest is None else "the file with this digest"
    raise SweepError(
        f"problem.architecture is {shown(value)}; {where} must be {expected}, and is not"
    )


def _asked(value: str, source: bytes, named: NetworkName) -> tuple[str, ...]:
    """What the factory takes by its source."""
    try:
        asked = asked_by(source, named.factory)
    except SyntaxError as error:
        raise SweepError(
            f"problem.architecture is {shown(value)}; its file must be Python: {error.msg} (line "
            f"{error.lineno})"
        ) from None
    if asked is None:
        raise SweepError(
            f"problem.architecture is {shown(value)}; its file must have a function "
            f"{named.factory}, or, where that is imported or made by other code, the name must say "
            f"in brackets which of {', '.join(ASKABLE)} it takes, such as "
            f"{named.short}({ASKABLE[0]})"
        )
    return asked


def _register(digest: str, path: Path) -> None:
    from jobs.models import own  # with torch, which other sweeps need not wait for

    own.register(digest, path)
