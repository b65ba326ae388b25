"""Names of networks of a user's own: ``FILE.py:FACTORY@DIGEST``."""

from __future__ import annotations

import re

NAMED = re.compile(
    r"(?P<file>.+\.py):(?P<factory>[A-Za-z_][A-Za-z0-9_]*)(@(?P<digest>[0-9a-f]{16}))?"
)
"""How such a network is named; in a sweep file without the digest."""


def is_own_network(architecture: str) -> bool:
    """Whether an architecture is a network of a user's own, named with its digest."""
    named = NAMED.fullmatch(architecture)
    return named is not None and named["digest"] is not None
