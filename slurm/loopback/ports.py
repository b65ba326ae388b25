"""Free TCP ports for the daemons."""

from __future__ import annotations

import contextlib
import random
import socket

from loopback.errors import LoopbackError

RANGE = range(21000, 32000)
"""Below the ports that Linux gives to outgoing connections: a daemon that is started again still
finds its own free."""


def free_ports(number: int) -> list[int]:
    """So many different ports that nobody on this host listens on."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.SystemRandom().sample(RANGE, len(RANGE)):
            if len(found) == number:
                return found
            tried = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                tried.bind(("", port))
                found.append(port)
    raise LoopbackError(f"ports: no {number} are free between {RANGE.start} and {RANGE.stop - 1}")
