"""What commands print: data on stdout, the rest on stderr, nothing that a terminal acts on."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.datasets.root import program

WIDE = 10_000
"""Columns of a line that goes to a file or a pipe: nothing is cut or wrapped there."""

MOST_ROWS = 200
"""Of a table that a person reads; to lay out more takes longer than to compute them."""

UNSEEN = "·"
"""In place of a character that cannot be shown."""

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # with a text
    r"|\x1b[ -/]*[0-~]?"
)
"""The control sequences of terminals, with the text that those like OSC take."""


def command(verb: str, *arguments: object, more: str = "") -> str:
    """A command to try next, as a shell takes it; ``more`` is appended as it is.

    The program is called as the user called it.
    """
    return (
        " ".join([shlex.quote(program()), verb, *(shlex.quote(str(a)) for a in arguments)]) + more
    )


stderr = Console(stderr=True, soft_wrap=True)


def note(text: str) -> None:
    """Print a line on stderr."""
    stderr.print(plain(text), markup=False, highlight=False)


def warn(text: str) -> None:
    """Print a warning on stderr; it may have several lines, such as the last ones of a log."""
    lines = "\n".join(map(plain, text.split("\n")))
    stderr.print(f"warning: {lines}", style="yellow", markup=False, highlight=False)


def stdout(most: int = WIDE) -> Console:
    """A console for tables: as wide as the terminal, or as they need, but at most ``most``."""
    return Console(emoji=False, width=None if sys.stdout.isatty() else most)


def print_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    title: str | None = None,
    total: int | None = None,
    all_have: str = "--json has all",
    most: int = WIDE,
    folded: Collection[str] = (),
) -> None:
    """Print rows under the given columns, numbers right-aligned; "no rows" if there are none.

    At most :data:`MOST_ROWS` are printed, with the number of the others below: ``rows`` may be only
    the first of ``total``, and ``all_have`` says how to get all. Where the output is no terminal,
    lines have at most ``most`` characters. Long cells are folded; where ``most`` characters fit,
    only those of the columns ``folded``.
    """
    total = len(rows) if total is None else total
    rows = rows[:MOST_ROWS]
    console = stdout(most)
    if title is not None:
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
    if not rows:
        print("no rows")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numeric = all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=bool(folded) and column not in folded and console.width >= most,
        )
    for row in rows:
        table.add_row(*(shown(row.get(column)) for column in columns))
    console.print(table, markup=False, highlight=False)
    if total > len(rows):
        print(f"… and {total - len(rows):,} more rows; {all_have}")


def print_json(content: object) -> None:
    """Print JSON; numbers exactly, times as text."""
    print(json.dumps(content, indent=2, default=str, ensure_ascii=False, allow_nan=False))


def shown(value: object) -> str:
    """A value in a table: a dash for None, numbers to 4 digits, text that no terminal acts on."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return plain(str(value))


def duration(seconds: float) -> str:
    """A length of time for a person: 8 s, 3 min, 2.5 h, 4 days."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit < 3600 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400:.1f} days"


def plain(text: str) -> str:
    """Text without anything that a terminal would act on.

    Control sequences go; line breaks and tabs become spaces, other characters that are not seen
    (controls, marks of direction, halves of pairs) a dot.
    """
    return "".join(map(_seen, _SEQUENCE.sub("", text)))


def _seen(character: str) -> str:
    if character in "\t\n\v\f\r\x85\u2028\u2029":
        return " "
    return UNSEEN if unicodedata.category(character).startswith("C") else character
