"""Files packed by gzip that end early, late or in parts."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from support.data_files import idx_bytes, random_images

from jobs.datasets import DatasetError, idx

PIXELS = random_images(20, 784)[0].reshape(-1, 28, 28)
WHOLE = idx_bytes(PIXELS)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    return tmp_path / "mnist" / "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize("lost", [1, 4, 8, 5_000])
def test_a_truncated_file_is_said_to_be_truncated_and_how_to_get_a_whole_one(path, lost):
    path.write_bytes(gzip.compress(WHOLE)[:-lost])
    words = "truncated or damaged .*eos data fetch mnist; .*eos data check mnist"
    with pytest.raises(DatasetError, match=words):
        idx.sizes(path, 3)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(WHOLE[:7_000]) + gzip.compress(WHOLE[7_000:]),
        gzip.compress(WHOLE) + bytes(512),
        gzip.compress(WHOLE) + gzip.compress(b""),
    ],
)
def test_a_file_in_parts_or_with_padding_is_a_file(path, packed):
    path.write_bytes(packed)
    assert idx.sizes(path, 3) == (20, 28, 28)
    assert np.array_equal(idx.read(path, 3, 20), PIXELS)


def test_what_unpacks_to_far_more_is_not_unpacked_to_its_end(path):
    path.write_bytes(gzip.compress(WHOLE + bytes(2**25)))
    with pytest.raises(DatasetError, match=r"holds at least (\d+) bytes; .* 15696") as refused:
        idx.sizes(path, 3)
    assert str(2**25 + len(WHOLE)) not in str(refused.value)
