"""Ray's servers on this machine: which of them died, and what its log says at its end."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.cluster.processes import Process, lives, named, shielded

OF_A_MEMBER = frozenset({"raylet"})
OF_A_HEAD = OF_A_MEMBER | {"gcs_server"}
"""The processes without which nothing of Ray works on a machine, or at all."""

LAST_LINES, LONGEST_LINE = 5, 300
"""Of a log, in a message. Of a longer line both ends are kept: Ray says why after much else."""

RECORD = re.compile(r"\[\d{4}-\d\d-\d\d ")
"""How a record begins in a server's log."""

LOOK_SECONDS = 0.5
"""Between looks at the servers."""


class Servers:
    """The servers of a cluster on this machine, watched by :func:`watched`.

    Attributes:
        death: what befell the first that died, in a sentence, and below it the last lines of its
            log; None while all live.
    """

    def __init__(
        self,
        names: frozenset[str],
        mark: str,
        folder: Path,
        node: str,
        on_death: Callable[[str], None],
    ) -> None:
        self.death: str | None = None
        self._on_death = on_death
        self._names = names
        self._mark, self._folder, self._node = mark, folder, node
        self._seen: dict[Process, str] = {}
        self._before: set[Process] = set()
        self._changed = threading.Lock()

    def expect(self) -> None:
        """Forget what has died, before servers are started again."""
        with self._changed:
            self._before = set(named(self._mark, self._names))
            self._seen, self.death = {}, None

    def look(self) -> None:
        """Look once, and tell of the first server that has died."""
        with self._changed:
            if self.death is not None:
                return
            if len(self._seen) < len(self._names):
                found = named(self._mark, self._names)
                self._seen |= {one: name for one, name in found.items() if one not in self._before}
            dead = [name for one, name in self._seen.items() if not lives(one)]
            self.death = self._obituary(dead[0]) if dead else None
        if self.death is not None:
            self._on_death(self.death)

    def _obituary(self, name: str) -> str:
        lines = last_lines(self._folder, name)
        head = f"Ray's {name} on node {self._node} died"
        return "\n  ".join([f"{head}; the last lines of its log:", *lines]) if lines else head


@contextlib.contextmanager
def watched(
    names: frozenset[str],
    mark: str,
    folder: Path,
    node: str,
    on_death: Callable[[str], None] = lambda death: None,
) -> Iterator[Servers]:
    """While this context lasts, tell from a thread of its own of a server that dies.

    Args:
        names: those of the servers that run here.
        mark: that of the cluster's processes here.
        folder: the cluster's folder here, where Ray keeps its logs.
        node: the name of this machine in messages.
        on_death: told what befell a server.
    """
    servers, over = Servers(names, mark, folder, node, on_death), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            servers.look()

    thread = threading.Thread(target=watch, name="servers", daemon=True)
    with shielded():
        thread.start()
    try:
        yield servers
    finally:
        over.set()
        thread.join()


def last_lines(folder: Path, name: str) -> list[str]:
    """The last records of the newest log of a server, and the end of its standard error."""
    sessions = sorted(folder.glob("session_*/logs"), key=lambda path: path.stat().st_mtime_ns)
    lines = []
    for path in (sessions[-1] / f"{name}.{kind}" for kind in ("out", "err") if sessions):
        with contextlib.suppress(OSError):
            text = [line.strip() for line in path.read_text(errors="replace").splitlines()]
            # Between its records, a server lists counts of its own over many lines.
            records = [line for line in text if RECORD.match(line)] or list(filter(None, text))
            lines += [_shortened(line) for line in records[-LAST_LINES:]]
    return list(dict.fromkeys(lines))  # what is fatal is in both files


def _shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"
