"""What TensorBoard's event files hold, read without TensorBoard."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The steps and values of every curve, over all files of a folder, in the order of writing."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _events(path):
            for value in event.summary.value:
                found[value.tag].append((event.step, value.simple_value))
    return dict(found)


def _events(path: Path) -> Iterator[Event]:
    """The records of a file: length (8 bytes), its checksum (4), content, its checksum (4)."""
    content, position = path.read_bytes(), 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        yield Event.FromString(content[position + 12 : position + 12 + length])
        position += 16 + length
