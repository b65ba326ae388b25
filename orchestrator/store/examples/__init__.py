"""Examples of SQL over a run directory, for users to run and to change: one file each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Example:
    """A query with its name and, in one sentence, what it answers."""

    name: str
    about: str
    sql: str


def examples() -> list[Example]:
    """All examples, by name."""
    found = [file for file in files(__name__).iterdir() if file.name.endswith(".sql")]
    return sorted(
        (_read(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in found),
        key=lambda example: example.name,
    )


def _read(name: str, text: str) -> Example:
    """A file begins with its sentence in a comment of one line."""
    first, _, sql = text.partition("\n")
    return Example(name, first.removeprefix("-- ").strip(), sql.strip())
