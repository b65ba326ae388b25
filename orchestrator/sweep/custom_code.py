"""Custom networks and losses of a sweep: named by the content of their files, which a run keeps.

A sweep file says ``FILE.py:FUNCTION``; the problems of the sweep have the digest in the name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.spec import Problem
from jobs.spec.loss_name import own_loss
from jobs.spec.network_name import (
    FACTORY_ARGUMENTS,
    NetworkName,
    custom_network,
    factory_arguments,
    network_name,
)
from jobs.spec.values import digest_of
from orchestrator.sweep.content_values import each_value
from orchestrator.sweep.errors import SweepError, shown

MODELS = "models"
"""The folder of a run directory that keeps the files, each as ``DIGEST.py``."""


def with_digests(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file, with every custom network and loss named with the digest of its
    file, and a network with the arguments that its factory takes.

    Files are looked for from ``folder``, where the sweep file lies, and are registered in this
    process; none is run. One that is named with its digest may lie in the folder's ``models`` too.

    Raises:
        SweepError: a file cannot be read, is not the one that its digest names, or does not say
            what its factory takes.
    """
    content = _each(content, "architecture", lambda value, named: _network(value, named, folder))
    return _each(content, "loss", lambda value, named: _loss(value, named, folder))


def placed(content: Mapping[Any, Any], folder: Path) -> dict[Any, Any]:
    """The content of a sweep file in a folder, for readers whose paths start elsewhere."""

    def place(value: str, named: NetworkName) -> str:
        return str(dataclasses.replace(named, file=str((folder / named.file).resolve())))

    return _each(_each(content, "architecture", place), "loss", place)


def keep(run: Path, problems: Iterable[Problem]) -> None:
    """Copy the files of the custom networks and losses of problems into a run directory, and use
    the copies.

    Raises:
        SweepError: a file has changed since the sweep was read.
        StoreError: the directory cannot be written to.
    """
    digests = _digests(problems)
    if not digests:
        return
    # With torch and Arrow, which other sweeps need not wait for.
    from jobs.models import custom
    from orchestrator.store import write_bytes_whole

    folder = run.resolve() / MODELS
    for digest, (field, name) in digests.items():
        path, copy = custom.path_of(digest), folder / f"{digest}.py"
        content = path.read_bytes() if path.is_file() else b""
        if digest_of(content) != digest:
            raise SweepError(
                f"problem.{field} is {name!r}; {path} must be the file with this digest, but "
                "it has changed since the sweep was read"
            )
        if path != copy:
            folder.mkdir(mode=0o700, exist_ok=True)
            write_bytes_whole(copy, content)
            custom.register(digest, copy)


def find(run: Path, problems: Iterable[Problem]) -> None:
    """Let this process find the networks and losses of problems that a run directory keeps."""
    for digest in _digests(problems):
        from jobs.models import custom

        path = run / MODELS / f"{digest}.py"
        if path.is_file():
            custom.register(digest, path)


def _digests(problems: Iterable[Problem]) -> dict[str, tuple[str, str]]:
    """The files that these problems need by digest, and a field and its value that needs each."""
    found: dict[str, tuple[str, str]] = {}
    problems = list(problems)
    for field, own in (("architecture", custom_network), ("loss", own_loss)):
        for value in sorted({getattr(problem, field) for problem in problems}):
            if (name := own(value)) is not None and name.digest is not None:
                found.setdefault(name.digest, (field, value))
    return found


def _each(
    content: Mapping[Any, Any], field: str, change: Callable[[str, NetworkName], str]
) -> dict[Any, Any]:
    def changed(value: str) -> str:
        named = network_name(value)
        return value if named is None else change(value, named)

    return each_value(content, field, changed)


def _network(value: str, named: NetworkName, folder: Path) -> str:
    """The whole name of a network whose file is found, and registered in this process."""
    source, digest = _found("architecture", value, named, folder)
    arguments = named.arguments
    if arguments is None:
        arguments = _arguments(value, source, named)
    return str(NetworkName(Path(named.file).name, named.factory, arguments, digest))


def _loss(value: str, named: NetworkName, folder: Path) -> str:
    """The same of a loss."""
    if named.arguments is not None:
        raise SweepError(
            f"problem.loss is {shown(value)}; it must be without brackets: a loss takes outputs "
            "and labels"
        )
    _, digest = _found("loss", value, named, folder)
    return str(NetworkName(Path(named.file).name, named.factory, None, digest))


def _found(field: str, value: str, named: NetworkName, folder: Path) -> tuple[bytes, str]:
    """The content of a file and its digest, with which it is registered."""
    path = folder / named.file
    places = [path] if named.digest is None else [folder / MODELS / f"{named.digest}.py", path]
    for place in places:
        try:
            source = place.read_bytes()
        except (OSError, ValueError):  # ValueError: no file can have this name
            continue
        found = digest_of(source)
        if named.digest in (None, found):
            from jobs.models import custom  # with torch, which other sweeps need not wait for

            custom.register(found, place.resolve())
            return source, found
    where = " or ".join(repr(str(place)) for place in places)
    expected = "a file that can be read" if named.digest is None else "the file with this digest"
    raise SweepError(f"problem.{field} is {shown(value)}; {where} must be {expected}, and is not")


def _arguments(value: str, source: bytes, named: NetworkName) -> tuple[str, ...]:
    """The arguments of the factory, from the source."""
    try:
        arguments = factory_arguments(source, named.factory)
    except SyntaxError as error:
        raise SweepError(
            f"problem.architecture is {shown(value)}; its file must be Python: {error.msg} (line "
            f"{error.lineno})"
        ) from None
    if arguments is None:
        raise SweepError(
            f"problem.architecture is {shown(value)}; its file must have a function "
            f"{named.factory}, or, where that is imported or made by other code, the name must say "
            f"in brackets which of {', '.join(FACTORY_ARGUMENTS)} it takes, such as "
            f"{named.short}({FACTORY_ARGUMENTS[0]})"
        )
    return arguments
