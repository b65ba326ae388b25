"""Scripts in processes of their own that begin at once: forked from one that has torch in it.

What a fresh interpreter would do first, seconds of imports, is done once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["torch._dynamo", "jobs"])


class Forked:
    """``script`` with these arguments in a folder, and with these changes of the environment."""

    def __init__(self, script: Path, *arguments: str, folder: Path, **environment: str) -> None:
        self._printed, self._said = _file(folder), _file(folder)
        streams = {1: self._printed, 2: self._said}
        given = (str(script), arguments, str(folder), streams, {**os.environ, **environment})
        self._process: ForkServerProcess = _server.Process(target=_run, args=given)
        self._process.start()

    @property
    def printed(self) -> str:
        """Its standard output."""
        return Path(self._printed).read_text()

    @property
    def said(self) -> str:
        """Its standard error."""
        return Path(self._said).read_text()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout} s"
        return self._process.exitcode

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()


def _file(folder: Path) -> str:
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="forked-")
    os.close(descriptor)
    return name


def _run(
    script: str,
    arguments: tuple[str, ...],
    folder: str,
    streams: Mapping[int, str],
    environment: Mapping[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # where the environment says
    os.chdir(folder)
    for number, path in streams.items():
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")
