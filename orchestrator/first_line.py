"""The first line of an error, for messages of one line; the rest is a traceback or details."""

from __future__ import annotations


def first_line(error: object) -> str:
    """The first line of what an error says that is not blank; empty where it says nothing."""
    return str(error).strip().partition("\n")[0]
