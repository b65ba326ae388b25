"""A process that is none of the ranks, and pesters them: ``stranger.py PORT ...`` until killed."""

import contextlib
import itertools
import random
import socket
import struct
import sys

WORDS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"",
    b"\x00",
    *(struct.pack("<q", number) for number in range(4)),  # gloo's way to say who connects
    *(struct.pack("<q", number) + b"\xff" * 64 for number in range(4)),
    b"\x00\x0d\x8a\x92\x3c\x00" + b"\xff" * 64,
    random.Random(0).randbytes(100_000),
]

kept = []
for word, port in itertools.cycle(itertools.product(WORDS, map(int, sys.argv[1:]))):
    with contextlib.suppress(OSError):
        connection = socket.create_connection(("127.0.0.1", port), timeout=1)
        connection.sendall(word)
        kept = [*kept, connection][-100:]  # some stay open, and say nothing more
        print(port, flush=True)
