"""Pickles made to exhaust a reader: refused, in memory and time of the order of the file."""

from __future__ import annotations

import struct

import pytest
from support.data_files import cifar_pickle_bytes, random_images

from jobs.datasets import DatasetError, cifar_pickle

GOOD = cifar_pickle_bytes(*random_images(5, 3072))
DATA = GOOD[GOOD.index(b"U\x04data") :]


def _nested(begin: bytes, end: bytes, depth: int) -> bytes:
    """Ten numbers, ten times those, and so on: 10 ** depth numbers for whoever looks at all."""
    content = b"U\x02a0" + begin + b"K\x01" * 10 + end + b"q\x00"
    for level in range(1, depth):
        name = b"U\x02a" + b"%d" % level
        content += name + begin + bytes([ord("h"), level - 1]) * 10 + end + bytes([ord("q"), level])
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        # With 10 ** 9 labels, a reader that makes an array of them has ended long ago.
        (
            b"\x80\x02}(" + _nested(b"](", b"e", 9) + b"U\x06labelsh\x08" + DATA,
            "labels must be a list of at most|labels must be whole numbers",
        ),
        (b"\x80\x02}(" + _nested(b"(", b"t", 9) + b"h\x08K\x01u.", "a key is no text"),
        (b"\x80\x02}(U\x06labels](" + b"K\x01" * 6 + b"e" + DATA, "a list of at most 5"),
        (b"\x80\x02}(U\x06labels](" + b"\x88" * 5 + b"e" + DATA, "whole numbers"),
        (b"\x80\x02}(U\x06labelsK\x01" + DATA, "a list of at most 5"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x", "expected 1099511627776 bytes"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x", "expected 1099511627776 bytes"),
        (b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"x", "expected 4294967295 bytes"),
        (b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"x", "expected 2147483647 bytes"),
        (b"\x80\x02" + b"]" * 20_000, "more than 1060 operations"),
    ],
)
def test_a_pickle_that_asks_for_more_than_it_holds_is_refused(tmp_path, content, words):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"nothing else is read: .*({words})"):
        cifar_pickle.read(path, 5)


def test_a_file_that_is_too_large_is_not_even_read(tmp_path):
    path = tmp_path / "data_batch_1"
    with path.open("wb") as file:
        file.truncate(2**40)  # it lies on no disk
    with pytest.raises(DatasetError, match=f"it has {2**40} bytes, more than"):
        cifar_pickle.read(path, 5)


def test_a_reason_is_never_as_long_as_the_file(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02c" + b"x" * 100_000 + b"\ny\n)R.")
    with pytest.raises(DatasetError) as refused:
        cifar_pickle.read(path, 5)
    assert len(str(refused.value)) < 1_000
