"""Synthetic datasets: given or drawn samples, targets of one truth, a test set that knows R."""

import numpy as np
import pytest
from scipy import stats

from jobs import Problem, Protocol, Trial, datasets, run_trial
from jobs.datasets import DatasetError, Shape
from jobs.datasets.synthetic import isotropic

POINT = "point(x=[2, 1], truth=[0.5, 0.5])"
TWO = (
    "points(x=[[.8301, 1.0197, 1.7071, .9956], [1.2343, .3469, 1.581, 1.2148]], "
    "truth=[.3968, .8096, .3729, .5081])"
)


def _load(dataset, n_train, **changes):
    problem = Problem(dataset=dataset, n_train=n_train, **{"architecture": "diagonal", **changes})
    return datasets.load(problem)


def _risk(data, beta):
    """½ mean squared error of ⟨β, x⟩ on the test set, doubled."""
    return np.mean(np.square(data.test.inputs @ beta - data.test.labels[:, 0]))


def test_a_point_is_its_sample_and_the_value_of_the_truth_there():
    data = _load(POINT, 1)
    assert data.train.inputs.tolist() == [[2, 1]]
    assert data.train.labels.tolist() == [[1.5]]
    assert datasets.shape(POINT) == Shape((2,), outputs=1, kind="numbers")


def test_the_test_loss_of_a_point_is_the_risk_of_the_paper():
    """With y = 1.5: R = 0.3125 at the norm minimiser y/x₁ e₁, 1.25 at the flattest, y/x₂ e₂."""
    data = _load(POINT, 1)
    assert _risk(data, [0.75, 0]) == pytest.approx(0.3125, rel=1e-12)
    assert _risk(data, [0, 1.5]) == pytest.approx(1.25, rel=1e-12)
    assert _risk(data, [0.5, 0.5]) == 0


def test_several_points_have_the_targets_and_risks_of_the_paper():
    """Published to four digits: Y, and R of the least-norm and of the flattest interpolation."""
    data = _load(TWO, 2)
    assert data.train.labels[:, 0] == pytest.approx([2.2973, 1.9774], abs=1e-4)
    assert _risk(data, [0, 0.2515, 1.1956, 0]) == pytest.approx(1.404, abs=1e-3)
    assert _risk(data, [1.2563, 1.2303, 0, 0]) == pytest.approx(1.313, abs=1e-3)
    assert _load(TWO, 1).train.labels.tolist() == data.train.labels[:1].tolist()


def test_given_targets_replace_those_of_the_truth_in_training_only():
    data = _load("points(x=[[2, 1], [1, 3]], truth=[1, 1], y=[5, -1])", 2)
    assert data.train.labels.tolist() == [[5], [-1]]
    assert _risk(data, [1, 1]) == 0


def test_signs_are_those_of_the_truth_or_given():
    data = _load("signs(x=[[2, 1], [1, -3], [1, -1]], truth=[1, 1])", 3, loss="logistic")
    assert data.train.labels.tolist() == [[1], [-1], [1]]
    expected = np.where(data.test.inputs.sum(axis=1) >= 0, 1, -1)
    assert np.array_equal(data.test.labels[:, 0], expected)
    given = _load("signs(x=[[2, 1], [1, -3]], truth=[1, 1], y=[-1, 1])", 2, loss="logistic")
    assert given.train.labels.tolist() == [[-1], [1]]
    assert datasets.shape("signs(x=[[2]], truth=[1])") == Shape((1,), outputs=1, kind="signs")


@pytest.mark.parametrize("features", [1, 2, 40])
def test_the_test_inputs_are_isotropic_to_rounding_and_look_gaussian(features):
    x = isotropic(features)
    assert x.shape == (10_000, features)
    assert np.abs(x.mean(axis=0)).max() < 1e-13
    assert np.abs(x.T @ x / len(x) - np.eye(features)).max() < 1e-12
    # Kolmogorov–Smirnov against N(0, 1), for each feature; the seed is fixed.
    assert min(stats.kstest(column, "norm").pvalue for column in x.T) > 1e-4


@pytest.mark.parametrize("base", ["regression", "classification"])
def test_drawn_samples_are_gaussian_with_a_sparse_truth(base):
    name = f"{base}(features=6, informative=3, seed=2)"
    loss = "mse" if base == "regression" else "logistic"
    data = _load(name, 5_000, loss=loss)
    x = data.train.inputs
    assert x.shape == (5_000, 6)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-4
    values = x[:, :3].sum(axis=1) / np.sqrt(3)
    expected = values if base == "regression" else np.sign(values)
    assert np.allclose(data.train.labels[:, 0], expected, rtol=1e-12, atol=1e-12)
    # A smaller set is the beginning, another seed is another set, and the test set is one.
    assert np.array_equal(_load(name, 7, loss=loss).train.inputs, x[:7])
    other = _load(name.replace("seed=2", "seed=3"), 7, loss=loss)
    assert not np.array_equal(other.train.inputs, x[:7])
    assert np.array_equal(other.test.inputs, data.test.inputs)
    assert not (data.test.inputs[:100, None] == x[None, :100]).any()


def test_drawn_samples_are_the_same_for_ever():
    """Written down once: other samples would be other problems under the names of these."""
    name = "regression(features=2, informative=1, seed=0)"
    data = _load(name, 2)
    assert data.train.inputs.ravel().tolist() == DRAWN


DRAWN = [0.345584192064786, 0.8216181435011584, 0.33043707618338714, -1.303157231604361]


@pytest.mark.parametrize(("base", "loss"), [("regression", "mse"), ("classification", "logistic")])
def test_gradient_descent_runs_on_drawn_samples(base, loss):
    """The linear model learns the truth, or its direction: both test sets are noiseless."""
    problem = Problem(
        dataset=f"{base}(features=3, informative=2, seed=0)",
        n_train=30,
        depth=0,
        loss=loss,
        dtype="float64",
    )
    protocol = Protocol(epsilons=(0.3, 0.1), max_steps=5_000)
    trial = Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=0.3)
    first, last = run_trial(trial).crossings
    assert last.status == "reached"
    assert last.test_loss < first.test_loss < np.log(2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_train": 2}, "n_train is 2; it must be at most 1"),
        ({"subset": "balanced"}, "subset is 'balanced'; it must be first"),
        ({"subset": "seeded-1"}, "subset is 'seeded-1'; it must be first"),
        ({"normalization": "scalar"}, "normalization is 'scalar'; it must be none"),
        ({"loss": "logistic"}, "loss is 'logistic'"),
    ],
)
def test_what_synthetic_data_has_not_got_is_refused(changes, words):
    with pytest.raises(DatasetError, match=words):
        datasets.check(Problem(**{"dataset": POINT, "n_train": 1, **changes}))
