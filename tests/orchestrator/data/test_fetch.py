"""Fetching and checking whole datasets, from a server that has small ones of the same form."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from support.data_files import by_digest, cifar_binary_bytes, idx_bytes, random_images
from support.web import Web, serving

from jobs import Problem, datasets
from orchestrator.data import OFFICIAL, DownloadError, check, fetch
from orchestrator.data.official import Archive, Official

IDX = {
    f"{part}-{content}-ubyte": idx_bytes(
        images[0].reshape(-1, 28, 28) if content == "images-idx3" else images[1]
    )
    for part, images in (
        ("train", random_images(30, 784)),
        ("t10k", random_images(20, 784, seed=1)),
    )
    for content in ("images-idx3", "labels-idx1")
}
BATCHES = {
    "data_batch_1.bin": cifar_binary_bytes(*random_images(30, 3072)),
    "test_batch.bin": cifar_binary_bytes(*random_images(20, 3072, seed=1)),
}


def _tar(members: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
TAR = _tar({f"{FOLDER}/{name}": content for name, content in BATCHES.items()})


def _official(tar: bytes, mirror: str) -> dict[str, Official]:
    """The small datasets in the place of the official ones."""
    packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in IDX.items()}
    sums = {f"mnist/{name}": f"sha256:{_sha256(content)}" for name, content in packed.items()}
    sums |= {f"mnist/{name}": f"sha256:{_sha256(content)}" for name, content in IDX.items()}
    archives = tuple(
        Archive(f"mnist/{name}", len(content), _sha256(content), (mirror,))
        for name, content in packed.items()
    )
    of_batches = {
        f"{FOLDER}/{name}": f"sha256:{_sha256(content)}" for name, content in BATCHES.items()
    }
    archive = Archive("cifar-10-binary.tar.gz", len(tar), _sha256(tar), (mirror,))
    return {
        "mnist": Official(archives, None, sums),
        "cifar10": Official((archive,), FOLDER, of_batches),
    }


@pytest.fixture
def web(monkeypatch):
    files = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in IDX.items()}
    with serving(Web({**files, "/cifar-10-binary.tar.gz": TAR})) as served:
        for name, official in _official(TAR, served.address).items():
            monkeypatch.setitem(OFFICIAL, name, official)
        yield served


def _loads(root: Path, monkeypatch, dataset: str) -> None:
    monkeypatch.setenv("EOS_DATA", str(root))
    data = datasets.load(Problem(dataset=by_digest(f"{dataset}(train=30, test=20)"), n_train=30))
    assert len(data.train.labels) == 30
    datasets._load.cache_clear()


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_what_was_fetched_is_right_and_can_be_loaded_and_is_not_fetched_again(
    tmp_path, monkeypatch, web, dataset
):
    fetched = fetch(dataset, tmp_path)
    assert fetched.downloaded == len(web.asked) == len(OFFICIAL[dataset].archives)
    assert all(file.problem is None for file in check(dataset, tmp_path))
    _loads(tmp_path, monkeypatch, dataset)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {Path(fetched.where).name}
    web.asked.clear()
    assert fetch(dataset, tmp_path).downloaded == 0
    assert web.asked == []


def test_files_that_are_there_packed_or_not_are_kept(tmp_path, monkeypatch, web):
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(IDX["train-images-idx3-ubyte"])
    assert fetch("mnist", tmp_path).downloaded == 3
    assert "/train-images-idx3-ubyte.gz" not in [path for path, _ in web.asked]
    _loads(tmp_path, monkeypatch, "mnist")


def test_a_file_of_the_users_own_is_not_touched(tmp_path, web):
    own = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(
        DownloadError, match=r"t10k-labels-idx1-ubyte of .* is not the official .* moved"
    ):
        fetch("mnist", tmp_path)
    assert own.read_bytes() == b"mine"
    own = tmp_path / FOLDER / "data_batch_1.bin"
    own.parent.mkdir()
    own.write_bytes(BATCHES["data_batch_1.bin"])
    with pytest.raises(DownloadError, match=r"test_batch.bin .* missing .* moved away"):
        fetch("cifar10", tmp_path)
    assert not any(path.startswith("/cifar") for path, _ in web.asked)


def test_the_users_mirror_comes_first(tmp_path, web):
    with serving(Web(dict(web.files))) as own:
        fetch("cifar10", tmp_path, mirror=own.address.rstrip("/"))
    assert len(own.asked) == 1
    assert web.asked == []


@pytest.mark.parametrize(("name", "stays"), [(ARCHIVE, True), (f"{ARCHIVE}.fetched", False)])
def test_an_archive_that_is_there_is_unpacked_and_stays_if_it_is_the_users(
    tmp_path, monkeypatch, web, name, stays
):
    (tmp_path / name).write_bytes(TAR)
    assert fetch("cifar10", tmp_path).downloaded == 0
    assert web.asked == []
    assert (tmp_path / name).exists() == stays
    _loads(tmp_path, monkeypatch, "cifar10")


def test_another_archive_of_the_users_is_neither_replaced_nor_deleted(tmp_path, web):
    own = tmp_path / ARCHIVE
    own.write_bytes(b"mine")
    with pytest.raises(DownloadError, match=rf"{ARCHIVE} is not the official .* moved away"):
        fetch("cifar10", tmp_path)
    assert own.read_bytes() == b"mine"
    assert web.asked == []


def test_other_files_in_the_folder_are_kept(tmp_path, monkeypatch, web):
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "readme.html").write_text("mine")
    tar = _tar({f"{FOLDER}/{n}": c for n, c in {**BATCHES, "readme.html": b"theirs"}.items()})
    web.files[f"/{ARCHIVE}"] = tar
    monkeypatch.setitem(OFFICIAL, "cifar10", _official(tar, web.address)["cifar10"])
    assert fetch("cifar10", tmp_path).downloaded == 1
    assert (folder / "readme.html").read_text() == "mine"
    assert all(file.problem is None for file in check("cifar10", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]


@pytest.mark.parametrize("folder_is_a_file", [True, False])
def test_what_is_in_the_way_is_named_before_the_download(tmp_path, web, folder_is_a_file):
    if folder_is_a_file:
        (tmp_path / FOLDER).write_text("mine")
        words = f"{FOLDER} is no folder; it must be moved away"
    else:
        (tmp_path / FOLDER / "test_batch.bin").mkdir(parents=True)
        words = "test_batch.bin is no file; it must be moved away"
    with pytest.raises(DownloadError, match=words):
        fetch("cifar10", tmp_path)
    assert web.asked == []


@pytest.mark.parametrize("name", [f"{FOLDER}/../../../outside", "../../outside"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, monkeypatch, web, name):
    tar = _tar({f"{FOLDER}/test_batch.bin": b"x", name: b"x"})
    web.files["/cifar-10-binary.tar.gz"] = tar
    monkeypatch.setitem(OFFICIAL, "cifar10", _official(tar, web.address)["cifar10"])
    with pytest.raises(tarfile.OutsideDestinationError):
        fetch("cifar10", tmp_path / "data")
    # Nothing of it stays but the archive, which is what was asked for.
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {"data", f"data/{ARCHIVE}.fetched"}


def test_an_archive_without_its_folder_is_refused(tmp_path, monkeypatch, web):
    tar = _tar({"elsewhere/test_batch.bin": b"x"})
    web.files["/cifar-10-binary.tar.gz"] = tar
    monkeypatch.setitem(OFFICIAL, "cifar10", _official(tar, web.address)["cifar10"])
    with pytest.raises(DownloadError, match=f"no folder {FOLDER}"):
        fetch("cifar10", tmp_path)


def test_a_check_names_what_is_missing_and_what_is_wrong(tmp_path, web):
    fetch("mnist", tmp_path)
    folder = tmp_path / "mnist"
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    damaged = folder / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    problems = {Path(each.file).name: each.problem for each in check("mnist", tmp_path)}
    assert problems["t10k-labels-idx1-ubyte.gz"] == "missing"
    assert "that of the official file" in str(problems["train-images-idx3-ubyte.gz"])
    assert [*problems.values()].count(None) == 2


def test_the_official_checksums_are_of_whole_datasets():
    """What is checked is what is read, and every archive is checked after the same digest."""
    assert set(OFFICIAL) == {"mnist", "fashion-mnist", "cifar10"}
    for official in OFFICIAL.values():
        for archive in official.archives:
            assert len(archive.sha256) == 64
            if official.unpacked is None:
                assert official.checksums[archive.path] == f"sha256:{archive.sha256}"
    assert len(OFFICIAL["cifar10"].checksums) == 12
    for name, digest in OFFICIAL["cifar10"].checksums.items():
        algorithm, digits = digest.split(":")
        assert len(digits) == {"sha256": 64, "md5": 32}[algorithm], name


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_a_data_root_that_cannot_be_written_to_is_named(tmp_path, monkeypatch, web, dataset):
    root = tmp_path / "file"
    root.write_text("mine")
    monkeypatch.setenv("EOS_DATA", str(root))
    words = f"EOS_DATA is '{root}'; it must be a folder that this user may write to"
    with pytest.raises(DownloadError, match=words):
        fetch(dataset, root)
    assert web.asked == []
    full = tmp_path / "full"
    target = full / OFFICIAL[dataset].archives[0].path
    target.parent.mkdir(parents=True)
    for name in (f"{target.name}.part", f"{target.name}.fetched.part"):
        (target.parent / name).symlink_to("/dev/full")
    monkeypatch.delenv("EOS_DATA")
    words = f"EOS_DATA is not set, .*'{full}'.* with room for dataset {dataset}: .*No space left"
    with pytest.raises(DownloadError, match=words) as refused:
        fetch(dataset, full)
    assert "proxy" not in str(refused.value)
    assert len(web.asked) == 1
