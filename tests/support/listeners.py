"""Where a process listens, as the kernel has it."""

import ipaddress
from pathlib import Path

LISTENING = "0A"


def listeners(pid):
    """The addresses and ports on which a process accepts TCP connections."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(descriptor.readlink()))
        except FileNotFoundError:  # closed since
            continue
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return {_place(row[1]) for row in rows if row[3] == LISTENING and f"socket:[{row[9]}]" in own}


def _place(text):
    digits, port = text.split(":")
    # Words of four bytes, each in the order of the machine, which is little-endian where we test.
    words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)
