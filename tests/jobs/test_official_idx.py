"""Official files of one dataset in the folder of another: other data under the same names."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest
from support.data_files import idx_bytes, random_images, write_idx

from jobs import Problem, datasets
from jobs.datasets import DatasetError, official_idx
from jobs.datasets.official_idx import OfficialIdx

NAME = "t10k-labels-idx1-ubyte"
PLAIN = idx_bytes(random_images(20, 784, seed=3)[1])
PACKED = gzip.compress(PLAIN, mtime=0)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=["mnist", "fashion-mnist"])
def other(request, tmp_path, monkeypatch):
    """A dataset of small official files, and another dataset that is there."""
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    small = OfficialIdx(len(PACKED), _sha256(PACKED), _sha256(PLAIN))
    official = {request.param: {NAME: small}}
    monkeypatch.setattr(official_idx, "OFFICIAL_IDX", official)
    own = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}[request.param]
    for name in (own, request.param):
        for part in ("train", "t10k"):
            write_idx(tmp_path / name, part, *random_images(20, 784))
    official_idx._whose.cache_clear()
    yield request.param, own
    official_idx._whose.cache_clear()


@pytest.mark.parametrize(("name", "content"), [(NAME, PLAIN), (f"{NAME}.gz", PACKED)])
def test_a_file_of_another_dataset_is_refused_by_name_and_at_home_it_is_right(
    tmp_path, other, name, content
):
    theirs, own = other
    for folder in other:
        (tmp_path / folder / name).write_bytes(content)
    words = f"{own}/{name} is the official {NAME} of dataset {theirs}; it must be of dataset {own}"
    with pytest.raises(DatasetError, match=words):
        datasets.check(Problem(dataset=f"{own}(train=20, test=20)", n_train=10))
    datasets.check(Problem(dataset=f"{theirs}(train=20, test=20)", n_train=10))


def test_a_file_that_no_checksum_is_known_of_will_do_and_a_replaced_one_is_looked_at_anew(
    tmp_path, other
):
    _, own = other
    problem = Problem(dataset=f"{own}(train=20, test=20)", n_train=10)
    datasets.check(problem)
    path = tmp_path / own / f"{NAME}.gz"
    path.write_bytes(gzip.compress(PLAIN, mtime=1))  # packed by somebody else
    datasets.check(problem)
    path.write_bytes(PACKED)
    os.utime(path, (1, 1))  # the two may have been written at the same tick of the clock
    with pytest.raises(DatasetError, match="is the official"):
        datasets.check(problem)


def test_an_official_file_at_home_is_not_read_to_be_known(tmp_path, monkeypatch):
    path = tmp_path / f"{NAME}.gz"
    with path.open("wb") as file:
        file.truncate(official_idx.OFFICIAL_IDX["mnist"][NAME].packed_size)
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: pytest.fail("it was read"))
    official_idx.refuse_other_dataset(path, "mnist")
