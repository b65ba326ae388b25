"""Scripts in processes of their own that begin at once: forked from one that has torch in it.

What a fresh interpreter would do first, seconds of imports, is done once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["torch._dynamo", "jobs"])


class Forked:
    """``script`` with these arguments, in this environment; what it says on stderr is kept."""

    def __init__(self, script: Path, *arguments: str, stderr: Path, **environment: str) -> None:
        self._stderr = stderr
        given = (str(script), arguments, str(stderr), {**os.environ, **environment})
        self._process: ForkServerProcess = _server.Process(target=_run, args=given)
        self._process.start()

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

    @property
    def said(self) -> str:
        """What it wrote to its standard error."""
        return self._stderr.read_text() if self._stderr.exists() else ""

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()


def _run(
    script: str, arguments: tuple[str, ...], stderr: str, environment: Mapping[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
