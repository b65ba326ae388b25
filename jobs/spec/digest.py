"""How things are named by their content."""

from __future__ import annotations

import hashlib


def digest_of(content: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of a content."""
    return hashlib.sha256(content).hexdigest()[:16]
