"""What goes wrong between here and a web server, and whether to ask it again."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

BUSY = (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
USUAL_WAIT = 1.0
"""Seconds before a busy server that names no time is asked again."""
LONGEST_WAIT = 60.0
"""Seconds that a busy server is waited for at most, whatever it asks for."""


class MirrorError(Exception):
    """Why a mirror does not give the file, to be asked no more."""


class BrokenOffError(Exception):
    """Why a connection brought no more; another one may, after ``wait`` seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


@contextmanager
def network() -> Iterator[None]:
    """Errors of the network by what can be done about them; nothing else is done within.

    Raises:
        BrokenOffError: the connection is lost, or the server is busy.
        MirrorError: the server refuses.
    """
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        why = f"HTTP status {error.code} {error.reason}"
        if error.code in BUSY:
            wait = seconds(error.headers.get("Retry-After"), time.time())
            raise BrokenOffError(why, wait) from None
        raise MirrorError(why) from None
    except (OSError, http.client.HTTPException) as error:
        why = str(getattr(error, "reason", error)) or type(error).__name__
        raise BrokenOffError(why) from None


def seconds(retry_after: str | None, now: float) -> float:
    """How long to wait by a Retry-After header, in seconds or a date; at most LONGEST_WAIT."""
    if retry_after is None:
        return USUAL_WAIT
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return min(float(retry_after), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return USUAL_WAIT
    return min(max(until - now, 0.0), LONGEST_WAIT)


def refuse_other_proxies(address: str) -> None:
    """Make sure that an address is reached directly or by a proxy that speaks HTTP.

    Raises:
        MirrorError: the environment names a proxy of another kind for it.
    """
    asked = urllib.parse.urlsplit(address)
    proxy = urllib.request.getproxies().get(asked.scheme, "")
    kind, named, _ = proxy.partition("://")
    if not named or kind.lower() in ("http", "https"):
        return
    if asked.hostname and urllib.request.proxy_bypass(asked.hostname):
        return
    raise MirrorError(
        f"{asked.scheme}_proxy begins with {kind}://; it must begin with http:// or https://, the "
        "only proxies that are supported"
    )
