"""Names of networks of a user's own: ``FILE.py:FACTORY(ASKED)@DIGEST``."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

ASKABLE = ("width", "depth", "activation")
"""Fields of a problem that a factory may ask for, in the order in which a name has them."""

_NAMED = re.compile(
    r"(?P<file>.+\.py):(?P<factory>[A-Za-z_][A-Za-z0-9_]*)"
    r"(\((?P<asked>[^()]*)\))?(@(?P<digest>[0-9a-f]{16}))?"
)


@dataclass(frozen=True)
class NetworkName:
    """A network of a user's own.

    Attributes:
        file: what its user calls the file.
        factory: the function in it.
        asked: those of :data:`ASKABLE` that the factory takes; None where the name does not say it.
        digest: the first 16 hex digits of the SHA-256 of the file; None where the name has none.
    """

    file: str
    factory: str
    asked: tuple[str, ...] | None = None
    digest: str | None = None

    def __str__(self) -> str:
        asked = "" if self.asked is None else f"({', '.join(self.asked)})"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.short}{asked}{digest}"

    @property
    def short(self) -> str:
        """What people call it, which other content may be called too."""
        return f"{self.file}:{self.factory}"

    @property
    def whole(self) -> bool:
        """Whether it says all that a problem's name must say."""
        return self.asked is not None and self.digest is not None


@functools.lru_cache(maxsize=1024)
def network_name(architecture: str) -> NetworkName | None:
    """The network of a user's own that a text names; None where it names none.

    What the factory takes may stand in any order; each must be one of :data:`ASKABLE`, named once.
    """
    found = _NAMED.fullmatch(architecture)
    if found is None:
        return None
    asked = None
    if found["asked"] is not None:
        named = [word.strip() for word in found["asked"].split(",") if found["asked"].strip()]
        if len(set(named)) < len(named) or not set(named) <= set(ASKABLE):
            return None
        asked = tuple(field for field in ASKABLE if field in named)
    return NetworkName(found["file"], found["factory"], asked, found["digest"])


def own_network(architecture: str) -> NetworkName | None:
    """The network of a user's own that a problem has; None where it is one of this package."""
    found = network_name(architecture)
    return found if found is not None and found.whole else None


def short_name(architecture: str) -> str:
    """An architecture as people call it: without what a factory asks for, and without digest."""
    found = network_name(architecture)
    return architecture if found is None else found.short
