"""The official files of MNIST and Fashion-MNIST are known by their bytes, and nothing else is."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.data_files import by_digest, idx_bytes, random_images

from jobs import Problem, datasets
from jobs.datasets import DatasetError, mnist
from jobs.datasets.mnist import OfficialIdx

LABELS = "t10k-labels-idx1-ubyte"


def _files(seed: int) -> dict[str, bytes]:
    """The four files of a small dataset."""
    found = {}
    for part in ("train", "t10k"):
        pixels, labels = random_images(20, 784, seed=seed + len(part))
        found[f"{part}-images-idx3-ubyte"] = idx_bytes(pixels.reshape(-1, 28, 28))
        found[f"{part}-labels-idx1-ubyte"] = idx_bytes(labels)
    return found


FILES = {"mnist": _files(0), "fashion-mnist": _files(10)}


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _official(files: Mapping[str, bytes], *, unpacked: bool) -> dict[str, OfficialIdx]:
    def known(content: bytes) -> OfficialIdx:
        packed = _packed(content)
        sha, inner = (hashlib.sha256(each).hexdigest() for each in (packed, content))
        return OfficialIdx(len(packed), sha, inner if unpacked else None)

    return {name: known(content) for name, content in files.items()}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small official files of both; of those of Fashion-MNIST no checksum of unpacked ones."""
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    official = {name: _official(each, unpacked=name == "mnist") for name, each in FILES.items()}
    monkeypatch.setattr(mnist, "OFFICIAL_IDX", official)
    for name, files in FILES.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / f"{file}.gz").write_bytes(_packed(content))
    return tmp_path


def _check(name: str) -> None:
    datasets.check(Problem(dataset=name, n_train=10))


@pytest.mark.parametrize("name", FILES)
def test_official_files_need_no_digest(name: str) -> None:
    for train in (20, 15):
        _check(f"{name}(train={train}, test=20)")


@pytest.mark.parametrize("name", FILES)
def test_one_bit_makes_another_dataset(root: Path, name: str) -> None:
    content = FILES[name][LABELS]
    other = content[:-1] + bytes([(content[-1] + 1) % 10])
    path = root / name / f"{LABELS}.gz"
    path.write_bytes(_packed(other))
    says = rf"{LABELS}.gz is not known to be the official file of dataset {name}: its SHA-256 is "
    with pytest.raises(DatasetError, match=says + hashlib.sha256(path.read_bytes()).hexdigest()):
        _check(f"{name}(train=20, test=20)")
    _check(by_digest(f"{name}(train=20, test=20)"))
    path.write_bytes(_packed(content))
    os.utime(path, (1, 1))  # the two may have been written at the same tick of the clock
    _check(f"{name}(train=20, test=20)")


def test_files_of_mnist_are_official_unpacked_and_packed_once_more(root: Path) -> None:
    path = root / "mnist" / f"{LABELS}.gz"
    path.write_bytes(gzip.compress(FILES["mnist"][LABELS], mtime=1))  # by somebody else
    _check("mnist(train=20, test=20)")
    path.with_suffix("").write_bytes(FILES["mnist"][LABELS])
    _check("mnist(train=20, test=20)")
    path.unlink()
    path.with_suffix("").write_bytes(FILES["mnist"][LABELS][:-1] + b"\0")
    with pytest.raises(DatasetError, match="official file of dataset mnist: its SHA-256 is"):
        _check("mnist(train=20, test=20)")


def test_nothing_proves_unpacked_files_of_fashion_mnist(root: Path) -> None:
    (root / "fashion-mnist" / LABELS).write_bytes(FILES["fashion-mnist"][LABELS])
    with pytest.raises(DatasetError, match=r"known is only that it must be \w+ of the packed one"):
        _check("fashion-mnist(train=20, test=20)")
    _check(by_digest("fashion-mnist(train=20, test=20)"))


@pytest.mark.parametrize("theirs", FILES)
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_of_another_dataset_is_refused_by_name(
    root: Path, theirs: str, *, packed: bool
) -> None:
    (own,) = set(FILES) - {theirs}
    if theirs == "fashion-mnist" and not packed:  # not known to be one
        return
    content = FILES[theirs][LABELS]
    name = f"{LABELS}.gz" if packed else LABELS
    (root / own / name).write_bytes(_packed(content) if packed else content)
    words = (
        f"{own}/{name} is the official {LABELS} of dataset {theirs}; it must be of dataset {own}"
    )
    digest = by_digest(f"{own}(train=20, test=20)")
    for named in (f"{own}(train=20, test=20)", digest):
        with pytest.raises(DatasetError, match=words):
            _check(named)


def test_an_official_file_at_home_is_not_compared_with_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = tmp_path / f"{LABELS}.gz"
    with path.open("wb") as file:
        file.truncate(mnist.OFFICIAL_IDX["mnist"][LABELS].packed_size)
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: pytest.fail("it was read"))
    mnist.refuse_other_dataset(path, "mnist")
