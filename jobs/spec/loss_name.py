"""Names of losses: ``mse``, ``ce(smoothing=0.1)``, or a user's ``FILE.py:FUNCTION@DIGEST``."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jobs.spec.network_name import NetworkName, network_name
from jobs.spec.values import SpecError, nearest


class LossOption(NamedTuple):
    """The one option of a loss; a loss whose option has the default is named without it."""

    name: str
    default: float
    allows: Callable[[float], bool]
    expected: str


LOSSES: dict[str, LossOption | None] = {
    "mse": None,
    "mse_mean": None,
    "ce": LossOption("smoothing", 0.0, lambda v: 0 <= v < 1, "a number of at least 0 and below 1"),
    "logistic": None,
    "huber": LossOption("delta", 1.0, lambda v: v > 0, "a number above 0"),
}
"""Every loss of this package, and its option."""

_NAMED = re.compile(r"\s*(?P<base>\w+)\s*(\(\s*(?P<option>\w+)\s*=\s*(?P<value>[^()=]+?)\s*\)\s*)?")


@dataclass(frozen=True)
class LossName:
    """A loss of this package.

    Attributes:
        base: its name without the option.
        value: that of its option; None for a loss without one.
    """

    base: str
    value: float | None = None

    def __str__(self) -> str:
        option = LOSSES[self.base]
        if option is None or self.value == option.default:
            return self.base
        assert self.value is not None
        value = int(self.value) if self.value.is_integer() else self.value
        return f"{self.base}({option.name}={value!r})"


@functools.lru_cache(maxsize=1024)
def loss_name(text: str) -> LossName | NetworkName:
    """The loss that a text names: one of this package, or the function of a user's file.

    Raises:
        SpecError: it names none.
    """
    if (own := network_name(text)) is not None:
        if own.digest is None or own.arguments is not None:
            expected = "FILE.py:FUNCTION@DIGEST for a loss of your own"
            raise SpecError(
                "loss", text, f"{expected}, with the first 16 hex digits of its SHA-256"
            )
        return own
    found = _NAMED.fullmatch(text)
    if found is None or found["base"] not in LOSSES:
        known = f"one of {', '.join(LOSSES)}, or FILE.py:FUNCTION for one of your own"
        raise SpecError("loss", text, known + nearest(text, LOSSES))
    option = LOSSES[found["base"]]
    if found["option"] is None:
        return LossName(found["base"], None if option is None else option.default)
    if option is None or found["option"] != option.name:
        has = "has no option" if option is None else f"has the option {option.name}"
        raise SpecError("loss", text, f"{found['base']} without {found['option']}; it {has}")
    try:
        value = float(found["value"])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and option.allows(value)):
        raise SpecError("loss", text, f"{found['base']} with {option.expected} for {option.name}")
    return LossName(found["base"], value)


def own_loss(text: str) -> NetworkName | None:
    """The function of a user's file that a loss is; None for a loss of this package."""
    found = loss_name(text)
    return found if isinstance(found, NetworkName) else None
