"""The processes of this host, by what they were started with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """A process: its name for the kernel, its command line as it has it now, its environment."""

    pid: int
    name: str
    command: str
    environment: dict[str, str]


def started_with(**variables: str) -> Iterator[Seen]:
    """Those in whose environment these variables are; what they start inherits them."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            entries = _texts(folder / "environ")
            command = " ".join(_texts(folder / "cmdline"))
            name = (folder / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
        environment = {key: value for key, _, value in (entry.partition("=") for entry in entries)}
        if environment.items() >= variables.items():
            yield Seen(int(folder.name), name, command, environment)


def _texts(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\0")
