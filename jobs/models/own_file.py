"""The file of a network of the user's own, executed alone: once for use, and once to compare."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from types import ModuleType

from jobs.admission import NetworkError
from jobs.models.foreign_code import foreign
from jobs.models.seeding import seeded
from jobs.spec.digest import digest_of

SEED = 0x656F73
"""What a file draws while it is executed must be the same in every process, whatever the problem
that needs it first. It is none of the usual seeds of problems: those draw initial values."""

_paths: dict[str, Path] = {}


def register(digest: str, path: Path) -> None:
    """Tell this process where the file of a digest lies."""
    _paths[digest] = path


def path_of(digest: str) -> Path:
    """Where the file of a digest lies.

    Raises:
        LookupError: no such file was registered in this process.
    """
    if digest not in _paths:
        raise LookupError(f"no file with the digest {digest} is registered")
    return _paths[digest]


@functools.cache
def module_of(file: str, digest: str, second: bool = False) -> ModuleType:
    """The module of a registered file, from the very bytes whose digest was taken.

    Args:
        file: what its user calls it.
        digest: which one is meant.
        second: whether the module of a second execution is asked for, to compare with.

    Raises:
        NetworkError: the file is not there, has other contents, or fails.
    """
    path = _paths.get(digest)
    if path is None:
        raise NetworkError(
            f"network file {file}: no file of digest {digest} is registered in this process"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise NetworkError(
            f"network file {file} cannot be read: {error.strerror} ({path})"
        ) from error
    if digest_of(source) != digest:
        raise NetworkError(
            f"network file {file} has the digest {digest_of(source)}; it must be {digest}: the "
            f"file was changed ({path})"
        )
    name = f"_eos_network_{digest}" + ("_second" if second else "")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with seeded(SEED), foreign(f"network file {file} failed"):
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
