"""What watching opens for writing or changes in the file system: ``audited.py RUN SEEN``.

An audit hook stays for the life of its process, so it has one of its own. It sees this program
write SEEN first. The events, each a name and a path, are the last line of standard output, as JSON.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.watch import Watcher

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.utime",
    "os.chmod", "os.chown", "os.truncate",
)  # fmt: skip

events: list[tuple[str, str]] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """The hook."""
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & WRITING:
            events.append((event, str(path)))
    elif event in CHANGES:
        events.append((event, str(arguments[0])))


run, seen = map(Path, sys.argv[1:])
sys.addaudithook(note)
seen.touch()
for option in ("--once", "--json"):
    answer = CliRunner().invoke(app, ["watch", str(run), option])
    assert answer.exit_code == 0, answer.output
watcher = Watcher(run)
for _ in range(3):
    watcher.view(wait=True)
watcher.close()
print(json.dumps(events))
