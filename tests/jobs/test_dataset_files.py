"""Datasets that are read from official files: what is read, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.data_files import (
    SHARED,
    by_digest,
    cifar_binary_bytes,
    cifar_pickle_bytes,
    idx_bytes,
    random_images,
    write_idx,
)

from jobs import Problem, datasets
from jobs.datasets import DatasetError, cifar_pickle
from jobs.datasets.cifar10 import FORMATS

IDX = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}


def _problem(dataset: str, n_train: int, **changes: object) -> Problem:
    return Problem(dataset=dataset, n_train=n_train, **changes)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.setenv("EOS_DATA", str(tmp_path))
    yield tmp_path
    datasets._load.cache_clear()


def _write_cifar(root: Path, version: str, train: int = 40, test: int = 20) -> tuple:
    written = random_images(train, 3072, seed=1), random_images(test, 3072, seed=2)
    folder = root / f"cifar-10-batches-{version}"
    folder.mkdir()
    suffix, convert = {
        "bin": (".bin", cifar_binary_bytes),
        "py": ("", cifar_pickle_bytes),
    }[version]
    for name, images in zip(("data_batch_1", "test_batch"), written, strict=True):
        (folder / f"{name}{suffix}").write_bytes(convert(*images))
    return written


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", IDX)
def test_idx_files_are_read_packed_or_not(root, name, packed):
    (pixels, labels), test = random_images(30, 784), random_images(20, 784, seed=1)
    write_idx(root / name, "train", pixels, labels, packed=packed)
    write_idx(root / name, "t10k", *test, packed=packed)
    data = datasets.load(_problem(by_digest(f"{name}(train=30, test=20)"), 25))
    mean, deviation = IDX[name]
    assert np.array_equal(data.train.inputs, (pixels[:25] / 255 - mean) / deviation)
    assert np.array_equal(data.train.labels, labels[:25])
    assert np.array_equal(data.test.inputs, (test[0] / 255 - mean) / deviation)
    assert np.array_equal(data.test.labels, test[1])
    assert data.train.labels.dtype == data.test.labels.dtype == np.int64


@pytest.mark.parametrize("version", ["bin", "py"])
def test_both_versions_of_cifar_are_read_by_channel_row_and_column(root, version):
    (pixels, labels), (tested, test_labels) = _write_cifar(root, version)
    named = by_digest("cifar10(train=40, test=20)")
    data = datasets.load(_problem(named, 30, normalization="channel"))
    mean = np.repeat([0.4914, 0.4822, 0.4465], 1024)
    deviation = np.repeat([0.2470, 0.2435, 0.2616], 1024)
    assert np.array_equal(data.train.inputs, (pixels[:30] / 255 - mean) / deviation)
    assert np.array_equal(data.train.labels, labels[:30])
    assert np.array_equal(data.test.inputs, (tested / 255 - mean) / deviation)
    assert np.array_equal(data.test.labels, test_labels)


def test_samples_are_counted_through_the_batches(root):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    pixels = np.zeros((10_000, 3072), np.uint8)
    for number in (1, 2):
        labels = np.full(10_000, number, np.uint8)
        (folder / f"data_batch_{number}.bin").write_bytes(cifar_binary_bytes(pixels, labels))
    (folder / "test_batch.bin").write_bytes(cifar_binary_bytes(*random_images(3, 3072)))
    source = datasets.find("cifar10(train=10005, test=3)")
    source.check_there()
    assert source.read_pool().labels.tolist() == [1] * 10_000 + [2] * 5
    # A short file in the middle would shift all that follows.
    with (folder / "data_batch_1.bin").open("r+b") as file:
        file.truncate(3073 * 9_999)
    with pytest.raises(DatasetError, match=r"data_batch_1.bin has 9999 images; .* 10000"):
        source.check_there()


def test_complete_files_are_asked_for_unless_the_name_says_how_many(root):
    write_idx(root / "mnist", "train", *random_images(30, 784))
    write_idx(root / "mnist", "t10k", *random_images(20, 784))
    with pytest.raises(DatasetError) as refused:
        datasets.check(_problem("mnist", 10))
    for words in ("has 30 images", "60000", "eos data fetch mnist", "mnist(train=30)"):
        assert words in str(refused.value)
    with pytest.raises(DatasetError, match=r"has 20 images.*10000.*mnist\(test=20\)"):
        datasets.check(_problem("mnist(train=30)", 10))
    _write_cifar(root, "bin")
    with pytest.raises(DatasetError, match=r"40 images.*10000.*fetch cifar10.*cifar10\(train=40\)"):
        datasets.check(_problem("cifar10", 10))
    # What lies there beyond the named beginning changes nothing.
    named = by_digest("mnist(train=20, test=10)")
    few = datasets.load(_problem(named, 15, normalization="feature"))
    write_idx(root / "mnist", "train", *(each[:20] for each in random_images(30, 784)))
    datasets._load.cache_clear()
    again = datasets.load(_problem(named, 15, normalization="feature"))
    assert np.array_equal(few.train.inputs, again.train.inputs)


def _full_idx(folder: Path) -> None:
    """Files of the official sizes, all of whose bytes are 0 (and lie on no disk)."""
    folder.mkdir()
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        for content, sizes in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            path = folder / f"{part}-{content}-ubyte"
            header = struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)
            path.write_bytes(header)
            with path.open("r+b") as file:
                file.truncate(len(header) + int(np.prod(sizes)))


def test_the_whole_of_mnist_is_60000_and_10000_images(root):
    _full_idx(root / "mnist")
    named = by_digest("mnist")
    data = datasets.load(_problem(named, 5_000))
    assert data.train.inputs.shape == (5_000, 784)
    assert data.test.inputs.shape == (10_000, 784)
    datasets.check(_problem(named, 60_000))
    with pytest.raises(DatasetError, match=r"n_train is 60001; .* 60000"):
        datasets.check(_problem(named, 60_001))


def test_the_whole_of_cifar_is_50000_and_10000_images(root):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        with (folder / f"{name}.bin").open("wb") as file:
            file.truncate(30_730_000)
    source = datasets.find("cifar10")
    source.check_there()
    assert (source.pool, source.tested) == (50_000, 10_000)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DatasetError, match=r"data_batch_3.bin is missing .* fetch cifar10"):
        datasets.check(_problem("cifar10", 10))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_a_missing_dataset_says_where_it_would_lie_and_how_to_get_it(root, name):
    with pytest.raises(DatasetError) as refused:
        datasets.check(_problem(name, 10))
    for words in (str(root), "EOS_DATA", "~/.cache/eos-sweep/data", f"eos data fetch {name}"):
        assert words in str(refused.value)


def test_the_data_root_is_the_variable_or_the_cache(monkeypatch, tmp_path):
    assert datasets.data_root() == tmp_path
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("EOS_DATA", "")
    assert datasets.data_root() == Path("/home/somebody/.cache/eos-sweep/data")
    monkeypatch.setenv("EOS_DATA", "~/data")
    assert datasets.data_root() == Path("/home/somebody/data")
    monkeypatch.setenv("EOS_DATA", "data")
    with pytest.raises(DatasetError, match="EOS_DATA is 'data'; it must be an absolute path"):
        datasets.data_root()


def _images(count: int = 20) -> bytes:
    return idx_bytes(random_images(count, 784)[0].reshape(-1, 28, 28))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_images()[:-1], r"holds 15695 bytes; it must hold 15696"),
        (_images() + b"x", r"holds 15697 bytes; it must hold 15696"),
        (b"\0\0\x0d\3" + _images()[4:], r"begins with 00000d03; .* 00000803"),
        (b"", r"begins with nothing"),
        (b"<html>", r"begins with 3c68746d"),
        (idx_bytes(np.zeros((20, 27, 28), np.uint8)), r"27×28; they must be 28×28"),
        (_images(19), r"has 20 labels; it must have 19"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_idx_file_is_refused(root, content, words, packed):
    folder = root / "mnist"
    write_idx(folder, "train", *random_images(20, 784))
    write_idx(folder, "t10k", *random_images(20, 784))
    (folder / "train-images-idx3-ubyte.gz").unlink()
    if packed:
        (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    else:
        (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        datasets.check(_problem("mnist(train=20, test=20)", 10))


def test_a_damaged_gzip_file_is_refused(root):
    folder = root / "mnist"
    write_idx(folder, "train", *random_images(20, 784))
    write_idx(folder, "t10k", *random_images(20, 784))
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:9000] + bytes(100) + whole[9100:])
    with pytest.raises(DatasetError, match="damaged"):
        datasets.load(_problem("mnist(train=20, test=20)", 10))
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DatasetError, match="damaged"):
        datasets.check(_problem("mnist(train=20, test=20)", 10))


@pytest.mark.parametrize("version", ["bin", "py"])
def test_labels_beyond_the_classes_are_refused(root, version):
    _write_cifar(root, version)
    pixels, labels = random_images(40, 3072)
    labels[7] = 10
    suffix = ".bin" if version == "bin" else ""
    convert = cifar_binary_bytes if version == "bin" else cifar_pickle_bytes
    path = root / f"cifar-10-batches-{version}" / f"data_batch_1{suffix}"
    path.write_bytes(convert(pixels, labels))
    with pytest.raises(DatasetError, match="must be 0 to 9"):
        datasets.load(_problem("cifar10(train=40, test=20)", 10))
    write_idx(root / "mnist", "train", pixels[:, :784].copy(), labels)
    write_idx(root / "mnist", "t10k", pixels[:, :784].copy(), labels)
    with pytest.raises(DatasetError, match="label 10; labels must be from 0 to 9"):
        datasets.load(_problem("mnist(train=40, test=40)", 10))


def test_a_binary_batch_of_half_an_image_is_refused(root):
    _write_cifar(root, "bin")
    with (root / "cifar-10-batches-bin" / "data_batch_1.bin").open("ab") as file:
        file.write(b"half")
    with pytest.raises(DatasetError, match="multiple of 3073"):
        datasets.check(_problem("cifar10(train=40, test=20)", 10))


def test_the_pickles_that_these_tests_write_are_what_pickle_itself_reads(tmp_path):
    pixels, labels = random_images(300, 3072)
    content = pickle.loads(cifar_pickle_bytes(pixels, labels), encoding="latin1")
    assert np.array_equal(content["data"], pixels)
    assert content["labels"] == labels.tolist()
    path = tmp_path / "batch"
    path.write_bytes(cifar_pickle_bytes(pixels, labels))
    images = cifar_pickle.read(path, 300)
    assert np.array_equal(images.pixels, pixels)
    assert np.array_equal(images.labels, labels)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_other_files_are_not_the_official_ones_and_have_a_name_of_their_own(root, name):
    """Random bytes in the official format, of as many images as the name counts."""
    if name == "cifar10":
        _write_cifar(root, "bin")
    else:
        for part, count in (("train", 40), ("t10k", 20)):
            write_idx(root / name, part, *random_images(count, 784))
    with pytest.raises(DatasetError) as refused:
        datasets.check(_problem(f"{name}(train=40, test=20)", 10))
    says = str(refused.value)
    for words in (f"official file of dataset {name}: its SHA-256 is ", f"eos data fetch {name}"):
        assert words in says
    suggested = says.rpartition(" as ")[2]
    assert re.fullmatch(rf"{name}\(train=40, test=20, digest=[0-9a-f]{{16}}\)", suggested)
    assert len(datasets.load(_problem(suggested, 10)).test.inputs) == 20


def test_a_digest_is_of_the_images_whatever_files_hold_them(root):
    for version in ("py", "bin"):  # the binary version is read where both are there
        (pixels, labels), (tested, test_labels) = _write_cifar(root, version)
        for train in (40, 39):
            sha = hashlib.sha256()
            for images, classes in ((pixels[:train], labels[:train]), (tested, test_labels)):
                sha.update(f"|u1{list(images.shape)}".encode() + images.tobytes())
                sha.update(f"<i8{list(classes.shape)}".encode() + classes.astype("<i8").tobytes())
            named = f"cifar10(train={train}, test=20"
            assert by_digest(f"{named})") == f"{named}, digest={sha.hexdigest()[:16]})"


def test_files_that_changed_are_no_longer_what_the_digest_says(root):
    (pixels, labels), _ = _write_cifar(root, "bin")
    named = by_digest("cifar10(train=40, test=20)")
    datasets.load(_problem(named, 10))
    pixels[39, 3071] ^= 1  # neither trained nor tested on, but of the pool
    (root / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(
        cifar_binary_bytes(pixels, labels)
    )
    digest, other = (one[-17:-1] for one in (named, by_digest("cifar10(train=40, test=20)")))
    says = rf"is not what lies in .*-bin, whose digest is {other}; it must be {digest}"
    with pytest.raises(DatasetError, match=says):
        datasets.load(_problem(named, 10))


def _make_official(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Let the files of CIFAR-10 that lie there be the official ones."""
    files = [path for version in FORMATS for path in (root / version).glob("*batch*")]
    digests = {}
    for path in files:
        algorithm = {".bin": "sha256", "": "md5"}[path.suffix]
        found = hashlib.new(algorithm, path.read_bytes()).hexdigest()
        digests[f"{path.parent.name}/{path.name}"] = f"{algorithm}:{found}"
    monkeypatch.setattr("jobs.datasets.cifar10.OFFICIAL_CIFAR", digests)


@pytest.mark.parametrize("version", ["bin", "py"])
def test_official_files_need_no_digest_and_a_part_of_them_is_official_too(
    root, monkeypatch, version
):
    (pixels, labels), _ = _write_cifar(root, version)
    _make_official(monkeypatch, root)
    for train in (40, 30):
        named = f"cifar10(train={train}, test=20)"
        datasets.check(_problem(named, 10))
        by_name, by_content = (datasets.load(_problem(n, 10)) for n in (named, by_digest(named)))
        assert by_name.digest == by_content.digest
    labels[0] = (labels[0] + 1) % 10
    suffix, convert = (".bin", cifar_binary_bytes) if version == "bin" else ("", cifar_pickle_bytes)
    path = root / f"cifar-10-batches-{version}" / f"data_batch_1{suffix}"
    path.write_bytes(convert(pixels, labels))
    algorithm = "SHA-256" if version == "bin" else "MD5"
    with pytest.raises(DatasetError, match=f"official file of dataset cifar10: its {algorithm} is"):
        datasets.check(_problem("cifar10(train=40, test=20)", 10))


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def _malicious(victim: Path, protocol: int) -> bytes:
    return pickle.dumps(
        {"data": _Malicious(victim), "labels": [1] * 40}, protocol=protocol
    ) + bytes(40 * 3072)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_and_never_executed(root, protocol):
    _write_cifar(root, "py")
    victim = root / "victim"
    content = _malicious(victim, protocol)
    pickle.loads(content)  # it does what it is made for
    victim.unlink()
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(content)
    with pytest.raises(DatasetError, match="python version, and nothing else is read"):
        datasets.load(_problem("cifar10(train=40, test=20)", 10))
    assert not victim.exists()


PIXELS, LABELS = random_images(40, 3072)
GOOD = cifar_pickle_bytes(PIXELS, LABELS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.replace(b"cnumpy\nndarray", b"cposix\nsystem_"), "call of numpy.core.multiarray"),
        (GOOD.replace(b"cnumpy\ndtype\n", b"cnt\nsystem\n"), "call of nt.system"),
        (GOOD.replace(b"_reconstruct", b"scalar"), "call of numpy.core.multiarray.scalar"),
        (GOOD.replace(b"U\x02u1", b"U\x02O8"), "call of numpy.dtype"),
        (GOOD.replace(b"U\x01|NNN", b"U\x01<NNN"), "gives a state to Type"),
        (GOOD[:-1], "not of that form"),
        (GOOD[:5000], "not of that form"),
        (b"", "not of that form"),
        (b"\x80\x02K\x01.", "not of that form"),
        (b"\x80\x02]e.", "not of that form"),
        (b"\x80\x02h\x05.", "not of that form"),
        (b"\x80\x02}(U\x04datau.", "not of that form"),
        (cifar_pickle_bytes(PIXELS, LABELS[:39]), "40×3072 bytes and 39 labels"),
        (cifar_pickle_bytes(PIXELS[:, :3071].copy(), LABELS), "40×3071 bytes"),
        (cifar_pickle_bytes(PIXELS[:39], LABELS[:39]), "has 39 images; it must have 40"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, words):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words):
        cifar_pickle.read(path, 40)


REAL = {"mnist": ("mnist", 5_000, 5_000), "cifar-10-batches-bin": ("cifar10", 5_000, 2_000)}
"""Real images beside the checkout, by their folder: the dataset, its pool and its test set."""

IMAGES = [
    ("made", "mnist", 200, 200),
    ("made", "cifar10", 200, 200),
    *(("real", *what) for folder, what in REAL.items() if (SHARED / folder).is_dir()),
]


@pytest.mark.parametrize(("origin", "name", "pool", "test"), IMAGES)
def test_each_normalization_is_by_the_moments_of_the_pool(
    root, monkeypatch, origin, name, pool, test
):
    if origin == "real":
        monkeypatch.setenv("EOS_DATA", str(SHARED))
    else:
        for part in ("train", "t10k"):
            write_idx(root / "mnist", part, *random_images(200, 784, seed=len(part)))
        _write_cifar(root, "bin", train=200, test=200)

    named = by_digest(f"{name}(train={pool}, test={test})")

    def load(normalization: str, n_train: int = pool) -> datasets.Dataset:
        return datasets.load(_problem(named, n_train, normalization=normalization))

    plain = load("none")
    assert plain.train.inputs.min() == 0
    assert plain.train.inputs.max() == 1
    # numpy's own moments in floating point.
    mean, deviation = plain.train.inputs.mean(axis=0), plain.train.inputs.std(axis=0)
    expected = (plain.test.inputs - mean) / np.where(deviation == 0, 1, deviation)
    by_feature = load("feature")
    assert np.allclose(by_feature.test.inputs, expected, rtol=1e-9, atol=1e-9)
    # A subset is standardised by the moments of the pool, not by its own.
    few, all_of_it = load("feature", 10).train.inputs, by_feature.train.inputs
    assert np.array_equal(few, all_of_it[:10])
    assert np.allclose(all_of_it.mean(axis=0), 0, atol=1e-9)
    assert (all_of_it[:, deviation == 0] == 0).all()
    if name == "cifar10":
        mean, deviation = plain.train.inputs.mean(), plain.train.inputs.std()
        expected = (plain.test.inputs - mean) / deviation
        assert np.allclose(load("scalar").test.inputs, expected, rtol=1e-9, atol=1e-9)
    else:
        assert np.array_equal(load("scalar").test.inputs, load("channel").test.inputs)
    if origin == "real":
        # 5,000 images have about the moments of all, which the constants are.
        channels = load("channel").train.inputs.reshape(pool, 3 if name == "cifar10" else 1, -1)
        assert np.abs(channels.mean(axis=(0, 2))).max() < 0.05
        assert np.abs(channels.std(axis=(0, 2)) - 1).max() < 0.05
