"""Which values the fields of a problem, a protocol and a trial accept, and what is usual."""

import dataclasses
import math

import pytest

from jobs import Problem, Protocol, SpecError, Trial

GD = Trial(
    problem=Problem(dataset="digits", n_train=50),
    protocol=Protocol(epsilons=(0.1,)),
    kind="gd",
    learning_rate=0.1,
)

NOT_POSITIVE = [0, 0.0, -1, -0.1, math.nan, math.inf, -math.inf, True, "1", None, [1.0]]
NOT_COUNTS = [-1, 1.0, 2.5, math.nan, True, "3", None]
HUGE = pytest.param(10**400, id="10**400")


@pytest.mark.parametrize("value", [*NOT_POSITIVE, HUGE])
def test_init_scale_must_be_positive(value):
    _refused(lambda: Problem(dataset="digits", n_train=1, init_scale=value), "init_scale", value)


@pytest.mark.parametrize("value", [*NOT_POSITIVE, HUGE])
def test_a_learning_rate_must_be_positive(value):
    _refused(lambda: dataclasses.replace(GD, learning_rate=value), "learning_rate", value)


@pytest.mark.parametrize("value", NOT_POSITIVE)
def test_a_threshold_must_be_positive(value):
    _refused(lambda: Protocol(epsilons=(0.1, value)), "epsilon", value)


@pytest.mark.parametrize("value", [(), []])
def test_there_must_be_a_threshold(value):
    with pytest.raises(SpecError, match="threshold") as caught:
        Protocol(epsilons=value)
    assert caught.value.field == "epsilon"
    assert list(caught.value.value) == []


@pytest.mark.parametrize("value", [0.1, None, 5, "0.1", {0.1}])
def test_thresholds_must_come_in_a_sequence(value):
    _refused(lambda: Protocol(epsilons=value), "epsilon", value)


@pytest.mark.parametrize("value", [*NOT_POSITIVE, 1, 1.0, 0.5])
def test_the_divergence_factor_must_be_above_one(value):
    _refused(lambda: Protocol(epsilons=(0.1,), divergence_factor=value), "divergence_factor", value)


@pytest.mark.parametrize("field", ["sharpness_rtol", "lambda_min_rtol"])
@pytest.mark.parametrize("value", [*NOT_POSITIVE, 1, 1.5])
def test_a_tolerance_must_lie_between_zero_and_one(field, value):
    if (field, value) == ("lambda_min_rtol", None):
        return  # nothing is asked of λ_min
    _refused(lambda: Protocol(epsilons=(0.1,), **{field: value}), field, value)


@pytest.mark.parametrize(
    ("value", "canonical"),
    [(3, 3.0), (0.5, 0.5), ("flow 2.50", "flow 2.5"), (" flow  3.0", "flow 3")],
)
def test_the_time_of_gd_may_be_bounded_by_a_number_or_in_units_of_the_flows(value, canonical):
    protocol = Protocol(epsilons=(0.1,), max_time=value)
    assert protocol.max_time == canonical
    assert protocol.of_flow == Protocol(epsilons=(0.1,))


@pytest.mark.parametrize("value", [v for v in NOT_POSITIVE if v is not None])
def test_a_bound_of_the_time_must_be_positive(value):
    _refused(lambda: Protocol(epsilons=(0.1,), max_time=value), "max_time", value)


@pytest.mark.parametrize("text", ["flow", "flow 0", "flow -1", "flow inf", "flow x", "gd 3", ""])
def test_other_bounds_of_the_time_are_refused(text):
    with pytest.raises(SpecError, match="the time, or 'flow K' with K above 0"):
        Protocol(epsilons=(0.1,), max_time=text)


def test_a_trial_needs_the_bound_of_its_time_as_a_number():
    protocol = Protocol(epsilons=(0.1,), max_time="flow 2")
    with pytest.raises(SpecError, match="a number for a trial") as caught:
        dataclasses.replace(GD, protocol=protocol)
    assert caught.value.field == "max_time"
    bounded = dataclasses.replace(GD, protocol=protocol.bounded_by(1.5))
    assert bounded.protocol.max_time == 3.0
    assert bounded.most_steps == 30  # of η = 0.1
    assert bounded.flow_id == GD.flow_id
    assert protocol.bounded_by(None).max_time is None


@pytest.mark.parametrize("field", ["max_steps", "trajectory_every"])
@pytest.mark.parametrize("value", [0, *NOT_COUNTS])
def test_counts_of_steps_must_be_whole_and_positive(field, value):
    if (field, value) == ("trajectory_every", None):
        return  # the points are those that suit runs of any length
    _refused(lambda: Protocol(epsilons=(0.1,), **{field: value}), field, value)


@pytest.mark.parametrize("field", ["max_steps", "trajectory_every"])
def test_counts_of_steps_are_whole_numbers_of_a_table(field):
    least, most = 1, 2**63 - 1
    assert getattr(Protocol(epsilons=(0.1,), **{field: least}), field) == least
    assert getattr(Protocol(epsilons=(0.1,), **{field: most}), field) == most
    _refused(lambda: Protocol(epsilons=(0.1,), **{field: most + 1}), field, most + 1)
    with pytest.raises(SpecError, match=f"a whole number of at most {most}"):
        Protocol(epsilons=(0.1,), **{field: most + 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, 0) for field in ("n_train", "width")],
        *[("n_train", v) for v in NOT_COUNTS],
        *[(field, v) for field in ("width", "depth", "seed") for v in NOT_COUNTS if v is not None],
    ],
)
def test_sizes_and_seeds_must_be_whole(field, value):
    values = {"dataset": "digits", "n_train": 1} | {field: value}
    _refused(lambda: Problem(**values), field, value)


def test_a_seed_must_fit_into_torchs_generator():
    # torch.Generator.manual_seed takes 64 bits.
    assert Problem(dataset="digits", n_train=1, seed=2**63 - 1).seed == 2**63 - 1
    _refused(lambda: Problem(dataset="digits", n_train=1, seed=2**63), "seed", 2**63)


@pytest.mark.parametrize(
    "field",
    [
        *("architecture", "activation", "loss", "parameterization", "dtype"),
        *("subset", "normalization"),
    ],
)
@pytest.mark.parametrize("value", ["", "nonsense", "RELU", None, 3, ["relu"]])
def test_names_must_be_known(field, value):
    if value is None and field in ("activation", "normalization"):
        return
    _refused(lambda: Problem(dataset="digits", n_train=1, **{field: value}), field, value)


@pytest.mark.parametrize("value", ["", None, 3])
def test_a_dataset_must_have_a_name(value):
    _refused(lambda: Problem(dataset=value, n_train=1), "dataset", value)


def test_the_flow_method_must_be_known():
    _refused(lambda: Protocol(epsilons=(0.1,), flow_method="euler"), "flow_method", "euler")


ASKED = {"epsilons": (0.1,), "also": ("average_sharpness",)}


def test_order_and_repetition_of_further_measures_do_not_matter():
    one = Protocol(epsilons=(0.1,), also=["norms", "trace", "norms"])
    assert one == Protocol(epsilons=(0.1,), also=("trace", "norms"))
    assert one.also == ("trace", "norms")


def test_what_the_measures_have_no_use_for_makes_no_other_protocol():
    plain = Protocol(epsilons=(0.1,))
    assert dataclasses.replace(plain, midpoint=True, probes=7, perturbation=0.3) == plain
    assert (plain.probes, plain.perturbation) == (None, None)
    trace = Protocol(epsilons=(0.1,), also=("trace",))
    assert dataclasses.replace(trace, perturbation=0.3) == trace
    assert (trace.probes, trace.perturbation) == (100, None)
    average = Protocol(**ASKED)
    assert (average.probes, average.perturbation) == (100, 0.1)
    assert Protocol(epsilons=(0.1,), eigenvalues=2, midpoint=True).midpoint


@pytest.mark.parametrize(
    ("value", "nearest"), [("trase", "trace"), ("sharpness", None), ("", None), (3, None)]
)
def test_an_unknown_measure_is_refused_with_the_nearest_one(value, nearest):
    with pytest.raises(SpecError) as caught:
        Protocol(epsilons=(0.1,), also=("trace", value))
    error = caught.value
    assert (error.field, error.value) == ("also", value)
    assert error.expected.startswith("one of trace, frobenius, adaptive_sharpness, average_")
    if nearest:
        assert error.expected.endswith(f"(did you mean {nearest}?)")


@pytest.mark.parametrize("value", ["trace", None, 5])
def test_further_measures_must_come_in_a_sequence(value):
    _refused(lambda: Protocol(epsilons=(0.1,), also=value), "also", value)


@pytest.mark.parametrize("value", [*NOT_COUNTS, 101])
def test_how_many_eigenvalues_must_be_a_whole_number_up_to_a_hundred(value):
    _refused(lambda: Protocol(epsilons=(0.1,), eigenvalues=value), "eigenvalues", value)


@pytest.mark.parametrize("value", [0, 1, *[value for value in NOT_COUNTS if value is not None]])
def test_there_must_be_two_probes_for_a_standard_error(value):
    _refused(lambda: Protocol(**ASKED, probes=value), "probes", value)


@pytest.mark.parametrize("value", [value for value in NOT_POSITIVE if value is not None])
def test_a_perturbation_must_be_positive(value):
    _refused(lambda: Protocol(**ASKED, perturbation=value), "perturbation", value)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_midpoint_must_be_true_or_false(value):
    _refused(lambda: Protocol(**ASKED, midpoint=value), "midpoint", value)


@pytest.mark.parametrize("value", ["sgd", None, ""])
def test_the_kind_must_be_known(value):
    _refused(lambda: dataclasses.replace(GD, kind=value), "kind", value)


def test_a_flow_has_no_learning_rate():
    _refused(lambda: dataclasses.replace(GD, kind="flow"), "learning_rate", 0.1)


def _refused(make, field, value):
    with pytest.raises(SpecError) as caught:
        make()
    error = caught.value
    assert error.field == field
    assert repr(error.value) == repr(value)
    assert str(error) == f"{field} is {value!r}; it must be {error.expected}"
    assert error.expected


@pytest.mark.parametrize("value", ["seeded-", "seeded--1", "seeded-01", "seeded-1.0", "last"])
def test_a_subset_is_the_first_balanced_or_seeded(value):
    _refused(lambda: Problem(dataset="digits", n_train=1, subset=value), "subset", value)


@pytest.mark.parametrize("name", ["ntk", "kernel", "mup"])
def test_a_parameterization_that_scales_with_width_needs_a_width_to_compare_with(name):
    named = {"dataset": "digits", "n_train": 1, "parameterization": name}
    _refused(lambda: Problem(**named), "base_width", None)
    _refused(lambda: Problem(**named, base_width=0), "base_width", 0)


@pytest.mark.parametrize(
    ("architecture", "width", "depth", "activation"),
    [
        ("fcn", 200, 2, "relu"),
        ("cnn", 32, 2, "relu"),
        ("resnet", 16, 3, "relu"),
        ("vit", 64, 4, "gelu"),
        ("diagonal", None, 2, None),
        ("diagonal-difference", None, 2, None),
    ],
)
@pytest.mark.parametrize(
    ("dataset", "normalization"), [("cifar10", "feature"), ("mnist", "scalar")]
)
def test_defaults_depend_on_the_architecture_and_the_dataset(
    architecture, width, depth, activation, dataset, normalization
):
    found = Problem(dataset=dataset, n_train=1, architecture=architecture)
    assert (found.width, found.depth, found.activation) == (width, depth, activation)
    assert found.normalization == normalization


def test_what_a_problem_has_no_use_for_makes_no_other_problem():
    plain = Problem(dataset="digits", n_train=1)
    assert dataclasses.replace(plain, base_width=64) == plain
    point = Problem(dataset="point(x=[2, 1], truth=[1, 1])", n_train=1, architecture="diagonal")
    assert (point.width, point.activation, point.seed) == (None, None, None)
    other = {"width": 3, "activation": "tanh", "parameterization": "mup", "base_width": 1}
    assert dataclasses.replace(point, **other, seed=7) == point


def test_a_linear_model_has_neither_units_nor_their_activation():
    linear = Problem(dataset="digits", n_train=1, depth=0)
    assert (linear.depth, linear.width, linear.activation) == (0, None, None)
    other = {"width": 3, "activation": "tanh", "parameterization": "ntk", "base_width": 1}
    assert dataclasses.replace(linear, **other) == linear
    assert dataclasses.replace(linear, depth=1).width == 200


@pytest.mark.parametrize("name", ["ntk", "mup"])
def test_at_the_base_width_every_parameterization_is_the_standard_one(name):
    standard = Problem(dataset="digits", n_train=1, width=64)
    assert dataclasses.replace(standard, parameterization=name, base_width=64) == standard
    wider = dataclasses.replace(standard, parameterization=name, base_width=64, width=65)
    assert (wider.parameterization, wider.base_width) == (name, 64)


@pytest.mark.parametrize("dataset", ["mnist-mini", "digits", "mnist(train=9)", "fashion-mnist"])
def test_images_of_one_channel_have_one_scale_for_all_pixels(dataset):
    one = Problem(dataset=dataset, n_train=1, normalization="channel")
    assert one == Problem(dataset=dataset, n_train=1, normalization="scalar")
    colours = Problem(dataset="cifar10", n_train=1, normalization="channel")
    assert colours.normalization == "channel"


OWN = "net.py:build({})@0123456789abcdef"


def test_what_a_factory_does_not_take_makes_no_other_problem():
    named = {"dataset": "digits", "n_train": 1}
    none = Problem(**named, architecture=OWN.format(""))
    assert (none.width, none.depth, none.activation, none.seed) == (None, None, None, 0)
    other = {"width": 3, "depth": 4, "activation": "tanh", "parameterization": "mup"}
    assert dataclasses.replace(none, **other, base_width=1) == none
    some = Problem(**named, architecture=OWN.format("depth"))
    assert (some.width, some.depth, some.activation) == (None, 2, None)
    every = Problem(**named, architecture=OWN.format("activation,width , depth"))
    assert (every.width, every.depth, every.activation) == (64, 2, "relu")
    assert every.architecture == OWN.format("width, depth, activation")


@pytest.mark.parametrize(
    "name",
    [
        *("net.py:build@0123456789abcdef", "net.py:build(width)", "net.py:build"),
        *(OWN.format("width, width"), OWN.format("heads"), OWN.format("width)(")),
    ],
)
def test_a_custom_network_is_named_with_its_arguments_and_its_content(name):
    _refused(lambda: Problem(dataset="digits", n_train=1, architecture=name), "architecture", name)


def test_kernel_is_another_name_of_ntk():
    named = {"dataset": "digits", "n_train": 1, "base_width": 8}
    ntk, kernel = (Problem(**named, parameterization=name) for name in ("ntk", "kernel"))
    assert ntk == kernel


@pytest.mark.parametrize(
    ("architecture", "least"), [("cnn", 1), ("resnet", 1), ("vit", 1), ("diagonal", 2)]
)
def test_how_deep_an_architecture_is_at_least(architecture, least):
    def make(depth):
        return Problem(dataset="digits", n_train=1, architecture=architecture, depth=depth)

    assert make(least).depth == least
    _refused(lambda: make(least - 1), "depth", least - 1)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("time 0.50", "time 0.5"), (" factor  2.0", "factor 2"), ("time 3", "time 3")],
)
def test_points_may_be_spaced_by_time_or_by_a_factor(text, canonical):
    assert Protocol(epsilons=(0.1,), trajectory_every=text).trajectory_every == canonical


@pytest.mark.parametrize(
    "text", ["time 0", "time", "factor 1", "factor x", "step 3", "", "time inf"]
)
def test_other_spacings_are_refused(text):
    with pytest.raises(SpecError, match="'time T' with T above 0, or 'factor F' with F above 1"):
        Protocol(epsilons=(0.1,), trajectory_every=text)
