"""How many rows of each attempt a file holds: enough to know which of its rows count.

A compacted file carries this index in its footer, so that nothing else of it must be read to choose
among attempts. The index is an Arrow stream, compressed, in base64, as metadata of Parquet is text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import pyarrow as pa

INDEX = b"eos.index.1"
"""The key of a compacted file's metadata; its number changes with the form of the index."""

KEY_COLUMNS = ("trial_id", "attempt")

_SCHEMA = pa.schema([("trial_id", pa.string()), ("attempt", pa.int64()), ("rows", pa.int64())])
_FEW = 1024


def index_of(rows: pa.Table) -> pa.Table:
    """The columns trial_id, attempt and rows: how many of ``rows`` each attempt has."""
    counted = rows.select(KEY_COLUMNS).group_by(KEY_COLUMNS, use_threads=False)
    return counted.aggregate([([], "count_all")]).rename_columns(_SCHEMA.names).cast(_SCHEMA)


def keys_of(rows: pa.Table) -> pa.Table:
    """As :func:`index_of`, but of few rows each is an entry: counting them would cost more."""
    if len(rows) > _FEW:
        return index_of(rows)
    ones = pa.repeat(pa.scalar(1, pa.int64()), len(rows))
    return rows.select(KEY_COLUMNS).append_column("rows", ones)


def encode(index: pa.Table) -> bytes:
    """An index as text for the metadata of a file."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, _SCHEMA, options=options) as writer:
        writer.write_table(index.combine_chunks())
    return base64.b64encode(sink.getvalue())


def decode(metadata: Mapping[bytes, bytes], rows: int) -> pa.Table | None:
    """The index in a file's metadata; None where there is none that fits its number of rows."""
    try:
        stream = base64.b64decode(metadata[INDEX], validate=True)
        with pa.ipc.open_stream(stream) as reader:
            index = reader.read_all()
    except (KeyError, binascii.Error, pa.ArrowException, OSError):
        return None
    fits = index.schema.equals(_SCHEMA) and sum(index.column("rows").to_pylist()) == rows
    return index if fits else None
