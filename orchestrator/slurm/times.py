"""Time limits in the forms that SLURM takes."""

from __future__ import annotations

import math
import re

FORMS = (
    "a time limit as SLURM takes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS "
    "or UNLIMITED"
)

_FORM = re.compile(r"(?:(?P<days>\d{1,6})-)?(?P<clock>\d{1,9}(?::\d{1,9}){0,2})")
_ENDLESS = ("UNLIMITED", "INFINITE", "-1")


def seconds(text: str) -> float:
    """The length of a time limit; infinite for none, which SLURM also writes as 0.

    With days, a single number is of hours and two are of hours and minutes; without, of minutes,
    and of minutes and seconds.

    >>> seconds("90"), seconds("1:30:00"), seconds("1-12"), seconds("UNLIMITED")
    (5400.0, 5400.0, 129600.0, inf)

    Raises:
        ValueError: it is not a time limit.
    """
    text = text.strip()
    if text.upper() in _ENDLESS:
        return math.inf
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} must be {FORMS}")
    numbers = [int(number) for number in form["clock"].split(":")]
    if form["days"] is not None:
        units, total = (3600, 60, 1), int(form["days"]) * 86_400
    else:
        units, total = (3600, 60, 1) if len(numbers) == 3 else (60, 1, 0), 0
    total += sum(number * unit for number, unit in zip(numbers, units, strict=False))
    return float(total) if total else math.inf


def minutes(text: str) -> int | None:
    """The time limit in whole minutes, to which SLURM rounds up; None for no limit."""
    length = seconds(text)
    return None if math.isinf(length) else math.ceil(length / 60)
