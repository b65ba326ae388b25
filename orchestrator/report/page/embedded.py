"""Data and scripts inside of HTML: what can be neither ended early nor changed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def as_json(value: object) -> str:
    """JSON that HTML and JavaScript read as JSON whatever text is in it, without spaces.

    >>> as_json({"label": "</script>"})
    '{"label":"\\\\u003c/script\\\\u003e"}'

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def policy(scripts: Iterable[str]) -> str:
    """The Content-Security-Policy of a page that runs these inline scripts and loads nothing.

    Plotly sets the style of what it draws, so styles may be inline; its pictures to save are blobs.
    """
    hashes = " ".join(f"'{_hash(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
