"""Running code of the user: what it may import, where it prints, what its errors become."""

from __future__ import annotations

import contextlib
import signal
import site
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from jobs.network_requirements import NetworkError


def executed(source: bytes, path: Path, name: str) -> ModuleType:
    """The module that a source makes, executed now; it is in ``sys.modules`` unless it fails."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def user_code(failed: str) -> Iterator[None]:
    """Run code of the user, which finds installed packages alone, and prints to standard error.

    Raises:
        NetworkError: it fails, or ends the process; ``failed`` says what did.
    """
    with _refused(failed, but=(NetworkError, KeyboardInterrupt)), _installed_alone():
        yield


def user_forward(failed: str) -> AbstractContextManager[None]:
    """Run code of the user many times: it may fail, but not end the process.

    Raises:
        NetworkError: it would have ended the process.
    """
    return _refused(failed, but=(Exception, KeyboardInterrupt))


@contextlib.contextmanager
def _refused(failed: str, but: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Let other exceptions than ``but`` be NetworkErrors, unless they come from a signal."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except but:
        raise
    except BaseException as error:
        if _by_signal(error):
            raise
        raise NetworkError(f"{failed}: {_said(error)}") from error


def _said(error: BaseException) -> str:
    """What an exception is and says."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):  # its text would have the name of a copy
        return f"{kind}: {error.msg} (line {error.lineno})"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"{kind}: No module named {error.name!r} is among the installed packages; the "
            "file must need no other file of yours"
        )
    return f"{kind}: {error}"


def _by_signal(error: BaseException) -> bool:
    """Whether an exception comes from the handler of SIGTERM, and not from the code it met."""
    code = getattr(signal.getsignal(signal.SIGTERM), "__code__", None)
    frames = traceback.walk_tb(error.__traceback__)
    return code is not None and any(frame.f_code is code for frame, _ in frames)


@contextlib.contextmanager
def _installed_alone() -> Iterator[None]:
    """Let imports find nothing that lies in folders of ``sys.path`` without installed packages.

    What lies beside the file, or where the process was started, has no digest, and is not found
    on other machines.
    """
    finder = _Installed()
    sys.meta_path[:] = [finder if other is PathFinder else other for other in sys.meta_path]
    try:
        yield
    finally:
        sys.meta_path[:] = [PathFinder if other is finder else other for other in sys.meta_path]


class _Installed:
    """In place of Python's finder along ``sys.path``, for imports by the thread that made it."""

    find_distributions = staticmethod(PathFinder.find_distributions)
    invalidate_caches = staticmethod(PathFinder.invalidate_caches)

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._folders = _installed()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """The module's spec, if it is found; ``path`` is that of the package that it is in."""
        if path is None and threading.get_ident() == self._thread:
            path = [folder for folder in sys.path if self._has(folder)]
        return PathFinder.find_spec(fullname, path, target)

    def _has(self, folder: str) -> bool:
        if folder in ("", "."):
            return False
        place = Path(folder).resolve()
        if {"site-packages", "dist-packages"} & set(place.parts):
            return True
        return any(place.is_relative_to(installed) for installed in self._folders)


def _installed() -> list[Path]:
    """Where Python's own library and packages are."""
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
    libraries = [Path(prefix) / kind for prefix in prefixes for kind in ("lib", "lib64")]
    user = site.getusersitepackages()
    return [folder.resolve() for folder in [*libraries, Path(user)]]
