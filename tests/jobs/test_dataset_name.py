"""Names of datasets: one spelling each, and nothing in them that runs or is ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import Problem, SpecError
from jobs.spec.dataset_name import EXAMPLES, OPTIONS, parse


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("point(truth=[.5,.5], x=[2.0, 1])", "point(x=[2, 1], truth=[0.5, 0.5])"),
        (" point ( x=(2, 1),\n truth=[5e-1, 0.50], ) ", "point(x=[2, 1], truth=[0.5, 0.5])"),
        ("point(x=[-0.0, 1e20], truth=[1, 1])", "point(x=[0, 1e+20], truth=[1, 1])"),
        ("points(x=[[1]], y=[2], truth=[3])", "points(x=[[1]], truth=[3], y=[2])"),
        ("signs(x=[[1]], truth=[3], y=[-1.0])", "signs(x=[[1]], truth=[3], y=[-1])"),
        ("signs(x=[[1]], truth=[3], y=[1.0])", "signs(x=[[1]], truth=[3], y=[1])"),
        (
            "regression(seed=0, informative=2, features=4)",
            "regression(features=4, informative=2, seed=0)",
        ),
        ("mnist()", "mnist"),
        ("mnist(train=60000, test=10000)", "mnist"),
        ("cifar10(test=2000,train=5000)", "cifar10(train=5000, test=2000)"),
        ("mnist-mini", "mnist-mini"),
        ("of-another-kind", "of-another-kind"),
    ],
)
def test_a_problem_has_the_one_spelling_of_its_dataset(written, canonical):
    assert Problem(dataset=written, n_train=1).dataset == canonical
    assert str(parse(canonical)) == canonical


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_values_are_kept_exactly(pairs):
    x, truth = ([pair[place] for pair in pairs] for place in (0, 1))
    name = parse(f"point(x={x!r}, truth={truth!r})")
    assert name.options["x"] == tuple(map(float, x))
    assert name.options["truth"] == tuple(map(float, truth))
    assert parse(str(name)) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pont(x=[1], truth=[1])", r"did you mean point\?"),
        ("mnist(trian=5)", r"mnist without trian; .* train, test, digest \(did you mean train\?\)"),
        ("digits(train=5)", "digits without train; it has no options"),
        ("mnist(train=0)", "mnist with a whole number from 1 to 60000 for train"),
        ("mnist(train=60001)", "mnist with a whole number from 1 to 60000 for train"),
        ("fashion-mnist(train=60001)", "from 1 to 60000 for train"),
        ("fashion-mnist(test=10001)", "from 1 to 10000 for test"),
        ("cifar10(train=50001)", "cifar10 with a whole number from 1 to 50000 for train"),
        ("mnist(train=5.0)", "for train"),
        ("mnist(train=True)", "for train"),
        ("mnist(test=10001)", "from 1 to 10000 for test"),
        ("point", r"point with x, .* as in point\(x=\[2, 1\], truth=\[0.5, 0.5\]\)"),
        ("point(x=[1])", "point with truth"),
        ("point(x=[1, 2], truth=[1])", "2 numbers for truth"),
        ("point(x=[], truth=[])", "for x"),
        ("point(x=[1e999], truth=[1])", "finite numbers for x"),
        ("point(x=[True], truth=[1])", "for x"),
        ("point(x=['1'], truth=[1])", "for x"),
        ("point(x=[1j], truth=[1])", "for x"),
        ("point(x=[1], x=[2], truth=[1])", "every option once"),
        (f"point(x=[1{'0' * 400}], truth=[1])", "for x"),
        ("points(x=[[1, 2], [1]], truth=[1, 1])", "the same .* numbers for x"),
        ("points(x=[[1], [2]], truth=[1], y=[1])", "2 numbers for y"),
        ("signs(x=[[1]], truth=[1], y=[0.5])", "1 or -1 for each sample for y"),
        ("regression(features=4)", "with informative"),
        ("regression(features=2, informative=3, seed=0)", "informative of at most 2"),
        ("regression(features=1001, informative=3, seed=0)", "1 to 1000 for features"),
        (f"points(x={[[0.1 + 0.2] * 100] * 6}, truth={[1] * 100})", "at most 10000 characters"),
        ("point(x=[1], truth=[2]", "a name with its options in brackets"),
        ("point(x=[1]) + (truth=[2])", "literals"),
        ("point(x=[1])(truth=[2])", "literals"),
        ("point([1], truth=[2])", "literals"),
        ("point(*[1])", "literals"),
        ("point(**{'x': [1]})", "literals"),
        ("point(x=[1], truth=y)", "literals"),
        ("point(x=[1], truth=[i for i in [1]])", "literals"),
        ("point(x=[1], truth=__import__('os').getcwd())", "literals"),
        (f"point(x={'[' * 500}, truth=[1])", "literals"),
        (f"point(x={'[' * 3000}{']' * 3000}, truth=[1])", "literals"),
    ],
)
def test_what_is_no_name_of_a_dataset_is_refused(name, words):
    with pytest.raises(SpecError, match=words) as refused:
        Problem(dataset=name, n_train=1)
    assert refused.value.field == "dataset"
    assert refused.value.value == name


def test_a_seed_of_a_name_has_63_bits():
    """As the seed of a problem, and 2⁶³ − 1 is the largest whole number of a table."""
    name = "regression(features=4, informative=2, seed={})"
    assert parse(name.format(2**63 - 1)).options["seed"] == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(SpecError, match=r"with a whole number .* for seed"):
            parse(name.format(seed))


def test_the_examples_are_names():
    for base, example in EXAMPLES.items():
        assert str(parse(example)) == example
        assert list(parse(example).options) == list(OPTIONS[base])
