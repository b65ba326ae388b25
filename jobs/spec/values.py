"""Single values of a trial's description: what they must be, and how a content is named."""

from __future__ import annotations

import difflib
import hashlib
import math
import sys
from collections.abc import Iterable


class SpecError(ValueError):
    """A value that no trial can have; names the field, the value and what would be right."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field} is {value!r}; it must be {expected}")


def one_of(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Make sure that a value is one of some words.

    Raises:
        SpecError: it is not.
    """
    if value not in choices:
        raise SpecError(field, value, "one of " + ", ".join(choices))


def nearest(value: object, known: Iterable[str]) -> str:
    """A question after the known word that a wrong value resembles; empty where there is none."""
    close = difflib.get_close_matches(value, known, n=1) if isinstance(value, str) else []
    return f" (did you mean {close[0]}?)" if close else ""


def whole(field: str, value: object, least: int, most: int = 2**63 - 1) -> None:
    """Make sure that a value is a whole number; tables hold those below 2^63.

    Raises:
        SpecError: it is none, below ``least`` or above ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(field, value, f"a whole number of at least {least}")
    if value > most:
        raise SpecError(field, value, f"a whole number of at most {most}")


def positive(field: str, value: object) -> float:
    """The value as a float.

    Raises:
        SpecError: it is no finite number above 0.
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0 < number <= sys.float_info.max:
        raise SpecError(field, value, "a finite number above 0")
    return float(number)


def digest_of(content: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()[:16]
