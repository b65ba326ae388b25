"""Text from files and from other programs, made fit for a terminal, and laid out in cells of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rich.text import Text

UNSEEN = "·"
"""In place of a character that cannot be shown."""

GAP = "  "
"""Between two cells of a line."""

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # with a text
    r"|\x1b[ -/]*[0-~]?"
)
"""The control sequences of terminals, with the text that those like OSC take."""


def plain(text: str) -> str:
    """Text without anything that a terminal would act on.

    Control sequences go; line breaks and tabs become spaces, other characters that are not seen
    (controls, marks of direction, halves of pairs) a dot.
    """
    return "".join(map(_seen, _SEQUENCE.sub("", text)))


def line(cells: Sequence[tuple[Text | str, int]]) -> Text:
    """Cells side by side, each cut and filled to its width: to the right where that is negative."""
    whole = Text()
    for number, (content, size) in enumerate(cells):
        cell = content.copy() if isinstance(content, Text) else Text(content)
        cell.truncate(abs(size), overflow="ellipsis")
        whole.append(GAP if number else "")
        fill = " " * (abs(size) - cell.cell_len)
        whole.append(fill if size < 0 else "")
        whole.append_text(cell)
        whole.append(fill if size >= 0 else "")
    return whole


def cut(text: Text, width: int) -> Text:
    """One line of at most so many cells."""
    text.rstrip()
    text.truncate(width, overflow="ellipsis")
    return text


def _seen(character: str) -> str:
    if character in "\t\n\v\f\r\x85\u2028\u2029":
        return " "
    return UNSEEN if unicodedata.category(character).startswith("C") else character
