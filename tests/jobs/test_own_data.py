"""Data of the user's own: what arrays may be, what they are called, and what becomes of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from jobs import Problem, datasets
from jobs.datasets import DatasetError, own
from jobs.datasets.own import arrays_of, named
from jobs.problem import pose
from jobs.spec import SpecError
from jobs.spec.dataset_name import parse, short_dataset

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 9, (12, 4))
CLASSES = np.array([0, 1, 2] * 4)
GIVEN = {"x_train": X, "y_train": CLASSES, "x_test": X[:5], "y_test": CLASSES[:5]}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(own, "_known", {})


def given(**changes):
    return {**GIVEN, **changes}


@pytest.mark.parametrize(
    "same",
    [
        {"x_train": X.astype(np.float32)},
        {"x_train": torch.tensor(X), "y_train": torch.tensor(CLASSES, dtype=torch.int32)},
        {"x_test": X[:5].tolist(), "y_test": CLASSES[:5].astype(np.uint8)},
        {"x_train": np.asfortranarray(X)},
    ],
)
def test_equal_numbers_have_one_name_whatever_holds_them(same):
    name = named(GIVEN)
    assert named(given(**same)) == name
    assert parse(name).options["digest"] == arrays_of(GIVEN, "").digest
    assert short_dataset(name) == "mydata.npz"


@pytest.mark.parametrize(
    "other",
    [
        {"x_train": X + 1},
        {"y_test": CLASSES[:5][::-1].copy()},
        {"x_train": X.reshape(12, 2, 2), "x_test": X[:5].reshape(5, 2, 2)},
        {"y_train": CLASSES.astype(float), "y_test": CLASSES[:5].astype(float)},
    ],
)
def test_other_numbers_another_shape_or_another_kind_of_labels_have_another_name(other):
    assert named(given(**other)) != named(GIVEN)


@pytest.mark.parametrize(
    ("shape", "expected"), [((4,), (4,)), ((2, 2), (1, 2, 2)), ((1, 2, 2), (1, 2, 2))]
)
def test_the_shape_of_a_sample_is_that_of_features_or_of_an_image(shape, expected):
    found = arrays_of(given(x_train=X.reshape(12, *shape), x_test=X[:5].reshape(5, *shape)), "d")
    assert found.shape.input == expected
    assert found.x_train.shape == (12, 4)


@pytest.mark.parametrize(
    ("labels", "kind", "outputs"),
    [
        (CLASSES, "classes", 3),
        (CLASSES / 2, "numbers", 1),
        (np.ones((12, 5)), "numbers", 5),
        (np.where(CLASSES > 0, 1.0, -1.0), "signs", 1),
    ],
)
def test_whole_numbers_are_classes_and_others_are_numbers(labels, kind, outputs):
    found = arrays_of(given(y_train=labels, y_test=labels[:5]), "d")
    assert (found.shape.kind, found.shape.outputs) == (kind, outputs)
    assert found.y_train.dtype == (np.int64 if kind == "classes" else np.float64)
    assert found.y_train.shape == ((12,) if kind == "classes" else (12, outputs))


NAN = X.astype(float)
NAN = np.where(np.arange(48).reshape(12, 4) == 9, np.nan, NAN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_train": CLASSES[:7]}, "12 samples in x_train and 7 in y_train; there must be as many"),
        ({"x_test": X[:5, :3]}, r"\(4,\) in x_train and \(3,\) in x_test; they must have one"),
        ({"x_train": NAN}, "nan in x_train, in sample 2; all numbers must be finite"),
        ({"x_train": X[:, 0], "x_test": X[:5, 0]}, r"inputs of shape \(12,\); it must be"),
        ({"x_train": np.array(["a"] * 12)}, "x_train that is of <U1; it must be of numbers"),
        ({"x_train": X > 4}, "x_train that is of bool; it must be of numbers"),
        ({"x_test": X[:0], "y_test": CLASSES[:0]}, "no sample in x_test; it must have"),
        ({"y_train": CLASSES + 1}, "no sample of class 0 in y_train; classes must be numbered"),
        ({"y_train": 2 * CLASSES}, "no sample of class 1 in y_train"),
        ({"y_train": 0 * CLASSES, "y_test": 0 * CLASSES[:5]}, "no sample of class 1 in y_train"),
        ({"y_train": CLASSES - 1}, "the class -1 in y_train; classes must be whole numbers from 0"),
        ({"y_train": 9999 * CLASSES}, "the class 19998 in y_train"),
        ({"y_test": CLASSES[:5] + 1}, "class 3 in y_test; it must be one of those of y_train, 0"),
        ({"y_test": CLASSES[:5] / 2}, "int64 in y_train and of float64 in y_test; both must be"),
        ({"y_train": np.ones((12, 2)), "y_test": np.ones((5, 3))}, r"\(12, 2\) in y_train and"),
        ({"y_train": CLASSES[:, None]}, r"classes of shape \(12, 1\) in y_train"),
    ],
)
def test_unusable_arrays_are_refused_in_a_sentence(changes, said):
    with pytest.raises(DatasetError, match=said):
        arrays_of(given(**changes), "d")


def test_missing_arrays_are_named():
    with pytest.raises(DatasetError, match="has no x_test and no y_test; it must have the arrays"):
        arrays_of({name: GIVEN[name] for name in ("x_train", "y_train")}, "d")


@pytest.mark.parametrize(
    ("normalization", "mean", "deviation"),
    [
        ("none", 0, 1),
        ("scalar", X.mean(), X.std()),
        ("feature", X.mean(axis=0), X.std(axis=0)),
        ("channel", np.repeat([X[:, :2].mean(), X[:, 2:].mean()], 2),
         np.repeat([X[:, :2].std(), X[:, 2:].std()], 2)),
    ],
)  # fmt: skip
def test_normalization_is_that_of_all_training_samples(normalization, mean, deviation):
    images = given(x_train=X.reshape(12, 2, 2, 1), x_test=X[:5].reshape(5, 2, 2, 1))
    problem = Problem(dataset=named(images), n_train=4, normalization=normalization)
    found = datasets.load(problem)
    assert found.train.inputs == pytest.approx((X[:4] - mean) / deviation, rel=1e-11, abs=1e-11)
    assert found.test.inputs == pytest.approx((X[:5] - mean) / deviation, rel=1e-11, abs=1e-11)


def test_a_constant_feature_is_0_in_training():
    inputs = RANDOM.standard_normal((12, 4))
    inputs[:, 1] = 0.1 + 0.2
    problem = Problem(
        dataset=named(given(x_train=inputs, x_test=inputs[:5])),
        n_train=12,
        normalization="feature",
    )
    assert np.abs(datasets.load(problem).train.inputs[:, 1]).max() < 1e-11


def test_subsets_are_those_of_other_datasets_and_classes_are_balanced():
    name = named(GIVEN)
    chosen = {
        subset: datasets.load(Problem(dataset=name, n_train=6, subset=subset)).train.labels
        for subset in ("first", "balanced", "seeded-3")
    }
    assert chosen["first"].tolist() == CLASSES[:6].tolist()
    assert sorted(chosen["balanced"]) == [0, 0, 1, 1, 2, 2]
    order = np.random.default_rng(3).permutation(12)[:6]
    assert chosen["seeded-3"].tolist() == CLASSES[order].tolist()


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"n_train": 13}, "n_train is 13; it must be at most 12"),
        ({"normalization": "channel"}, "normalization is 'channel'; it must be scalar, feature or"),
        ({"loss": "logistic"}, "loss is 'logistic'; it must be one of mse, mse_mean, ce"),
        ({"architecture": "cnn"}, "whose samples are no images"),
    ],
)
def test_a_problem_that_does_not_fit_the_data_is_refused(problem, said):
    with pytest.raises(DatasetError, match=said):
        datasets.check(Problem(dataset=named(GIVEN), **{"n_train": 6, **problem}))


def test_numbers_have_no_balanced_subset():
    numbers = given(y_train=CLASSES / 2, y_test=CLASSES[:5] / 2)
    problem = Problem(dataset=named(numbers), n_train=6, subset="balanced")
    with pytest.raises(DatasetError, match="whose labels are no classes"):
        datasets.check(problem)


def test_a_problem_with_own_data_is_posed_in_a_notebook():
    targets = RANDOM.standard_normal((12, 2))
    problem = Problem(
        dataset=named(given(y_train=targets, y_test=targets[:5])), n_train=12, width=3, depth=0
    )
    objective, test, theta = pose(problem)
    assert objective.labels.shape == (12, 2)
    outputs = X @ theta[:8].reshape(2, 4).double().numpy().T + theta[8:].double().numpy()
    expected = 0.5 * np.square(outputs - targets).sum(axis=1).mean()
    assert objective.evaluate(theta).loss == pytest.approx(expected, rel=1e-5)
    assert test.samples == 5


def test_a_file_has_all_and_one_with_other_numbers_is_refused(tmp_path):
    name, arrays = named(GIVEN), arrays_of(GIVEN, "d")
    path = tmp_path / "kept.safetensors"
    own.write(path, arrays)
    assert own.read(path).digest == arrays.digest
    own.register(arrays.digest, path)
    problem = Problem(dataset=name, n_train=6)
    assert datasets.load(problem).train.labels.tolist() == CLASSES[:6].tolist()
    assert datasets.find(name).where == str(path)
    own.write(path, dataclasses.replace(arrays, x_train=arrays.x_train + 1))
    with pytest.raises(DatasetError, match=r"must be .*: the file was changed"):
        datasets.check(problem)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DatasetError, match="is damaged"):
        datasets.check(problem)


def test_data_that_were_not_named_are_unknown():
    with pytest.raises(DatasetError, match="is not known in this process; it must be named in a"):
        datasets.find("mydata.npz(digest=0123456789abcdef)")
    with pytest.raises(SpecError, match=r"as in mydata.npz\(digest=0123456789abcdef\)"):
        Problem(dataset="mydata.npz", n_train=1)
