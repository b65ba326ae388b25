"""What a sweep file and its overrides come to: columns, learning rates, names, and a file again."""

import dataclasses
import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.sweeps import QUICKSTART

from jobs.spec import FURTHER_MEASURES, Problem, Protocol, Trial
from orchestrator.sweep import (
    AskedRate,
    EtaGrid,
    Resources,
    Sweep,
    SweepError,
    dump,
    load,
    parse,
)
from orchestrator.sweep.keys import geometric, linear


def rates(sweep: Sweep) -> tuple[float, ...]:
    return sweep.grids[0].eta.multiples


def test_the_quickstart_is_the_file_that_the_contract_shows() -> None:
    sweep = load(QUICKSTART)
    (column,) = sweep.columns
    assert sweep.name == "quickstart"
    assert column.problem == Problem(
        dataset="mnist-mini",
        n_train=1000,
        architecture="fcn",
        width=64,
        depth=2,
        activation="tanh",
        loss="mse",
        parameterization="standard",
        init_scale=1.0,
        seed=0,
    )
    assert column.protocol == Protocol(epsilons=(0.1, 0.05, 0.02))
    assert column.stop_after_divergences == 2
    assert column.resources == Resources(workers=1, gpus_per_worker=None, cpus_per_worker=1)
    (eta,) = column.etas
    assert (eta.unit, len(eta.multiples), eta.multiples[0], eta.multiples[-1]) == (
        "eta_c",
        16,
        0.25,
        4.0,
    )


def test_what_the_file_leaves_out_has_the_defaults_of_the_science(small: str) -> None:
    (column,) = parse(small).columns
    assert column.problem == Problem(dataset="digits", n_train=100, width=64)
    assert column.protocol == Protocol(epsilons=(0.1,))
    assert column.etas == (EtaGrid(unit="eta_c", multiples=(0.5, 1.0, 2.0)),)
    assert column.stop_after_divergences == 2
    assert column.resources == Resources()


def test_further_measures_are_those_of_the_protocol(small: str) -> None:
    asked = {
        "also": ["norms", "trace", "average_sharpness"],
        "eigenvalues": 5,
        "midpoint": True,
        "probes": 40,
        "perturbation": 0.05,
    }
    sweep = parse(small, [f"measure.{key}={value}" for key, value in asked.items()])
    assert sweep.columns[0].protocol == Protocol(epsilons=(0.1,), **asked)
    assert parse(dump(sweep)) == sweep
    for line in ("probes: 40", "perturbation: 0.05", "- average_sharpness", "midpoint: true"):
        assert line in dump(sweep)


def test_one_further_measure_needs_no_list(small: str) -> None:
    (column,) = parse(small, ["measure.also=trace"]).columns
    assert column.protocol == Protocol(epsilons=(0.1,), also=("trace",), probes=100)


def test_what_the_measures_have_no_use_for_makes_no_other_column(small: str) -> None:
    plain = parse(small)
    given = ["measure.midpoint=true", "measure.probes=3", "measure.perturbation=0.5"]
    assert parse(small, given).columns == plain.columns
    assert parse(small, ["measure.also=[]", "measure.probes=null"]) == plain
    assert "probes" not in dump(plain)


@given(
    st.lists(st.sampled_from(FURTHER_MEASURES), max_size=6),
    st.integers(0, 3),
    st.booleans(),
    st.none() | st.integers(2, 9),
)
@settings(deadline=None, max_examples=30, derandomize=True)
def test_any_dumped_sweep_reads_back_as_itself(
    also: list[str], eigenvalues: int, midpoint: bool, probes: int | None
) -> None:
    protocol = Protocol(
        epsilons=(0.1,), also=also, eigenvalues=eigenvalues, midpoint=midpoint, probes=probes
    )
    plain = load(QUICKSTART)
    sweep = dataclasses.replace(
        plain, grids=(dataclasses.replace(plain.grids[0], protocol=protocol),)
    )
    assert parse(dump(sweep)) == sweep


def test_resources_read_back_as_they_were_written(small: str) -> None:
    sweep = parse(small, ["resources.workers=4", "resources.memory_gib_per_worker=2.5"])
    assert sweep.columns[0].resources == Resources(workers=4, memory_gib_per_worker=2.5)
    assert parse(dump(sweep)) == sweep


def test_a_later_run_may_handle_the_same_columns_in_another_way(small: str) -> None:
    before = parse(small)
    later = parse(small, ["resources.workers=2", "eta.values=[0.5, 3]"])
    (column,) = before.extended_by(later).columns
    assert column.resources == Resources(workers=2)
    assert column.etas == (EtaGrid(unit="eta_c", multiples=(0.5, 1.0, 2.0, 3.0)),)
    assert before.extended_by(parse(small, ["resources.workers=2"])).grids == (
        dataclasses.replace(before.grids[0], resources=Resources(workers=2)),
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["resources.workers=101"],
            "resources.workers is 101; it must be at most 100, the number of training samples, "
            "so that each worker has one",
        ),
        (
            ["measure.sharpness_rtol=1e-8"],
            "measure.sharpness_rtol is 1e-08; it must be at least 1e-06 in float32, "
            "or dtype float64",
        ),
        (
            ["measure.sharpness_rtol=1e-15", "problem.dtype=float64"],
            "measure.sharpness_rtol is 1e-15; it must be at least 1e-14 in float64",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    small: str, overrides: list[str], sentence: str
) -> None:
    with pytest.raises(SweepError) as refused:
        parse(small, overrides).columns  # noqa: B018
    assert str(refused.value) == sentence


def test_axes_multiply_in_the_order_of_the_file(small: str) -> None:
    sweep = parse(
        small, ["problem.width=[32, 8, 16]", "problem.seed=[0, 1]", "problem.loss=[mse, ce]"]
    )
    found = [(c.problem.width, c.problem.loss, c.problem.seed) for c in sweep.columns]
    assert found == list(itertools.product([32, 8, 16], ["mse", "ce"], [0, 1]))
    assert len({c.column_id for c in sweep.columns}) == 12


def test_values_given_twice_fall_together(small: str) -> None:
    sweep = parse(
        small,
        [
            "problem.width=[8, 16, 8]",
            "problem.init_scale=[1, 1.0]",
            "eta.values=[2, 1, 2.0]",
            "stop.epsilon=[0.1, 0.2, 0.1]",
        ],
    )
    assert [c.problem.width for c in sweep.columns] == [8, 16]
    assert rates(sweep) == (1.0, 2.0)
    assert sweep.columns[0].protocol.epsilons == (0.2, 0.1)


def test_a_whole_number_is_a_number_where_any_number_will_do(small: str) -> None:
    sweep = parse(small, ["problem.init_scale=2", "stop.epsilon=1", "stop.divergence_factor=10"])
    (column,) = sweep.columns
    numbers = (
        column.problem.init_scale,
        *column.protocol.epsilons,
        column.protocol.divergence_factor,
        *rates(sweep),
    )
    assert {type(number) for number in numbers} == {float}
    assert sweep == parse(
        small, ["problem.init_scale=2.0", "stop.epsilon=1.0", "stop.divergence_factor=1e1"]
    )


@pytest.mark.parametrize("spelling", ["1e-3", "1E-3", "1.e-3", "0.001", "1.0e-3", ".001"])
def test_every_spelling_of_a_float_is_a_float(small: str, spelling: str) -> None:
    (column,) = parse(small, [f"measure.sharpness_rtol={spelling}"]).columns
    assert column.protocol.sharpness_rtol == 0.001


def test_overrides_are_the_same_as_an_edited_file(small: str) -> None:
    for override, old, new in [
        ("problem.width=128", "width: 64", "width: 128"),
        ("problem.width=[64,128]", "width: 64", "width: [64, 128]"),
        ("problem.dataset=mnist-mini", "dataset: digits", "dataset: mnist-mini"),
        ("eta.values=[0.5,1,4]", "[0.5, 1, 2]", "[0.5, 1, 4]"),
        ("eta.values={linear: [1, 2, 3]}", "[0.5, 1, 2]", "{linear: [1, 2, 3]}"),
        ("eta.values.linear=[1, 2, 3]", "[0.5, 1, 2]", "{linear: [1, 2, 3]}"),
        ("problem={seed: 3}", "width: 64", "width: 64\n  seed: 3"),
        ("name=other", "name: small", "name: other"),
        ("eta.stop_after_divergences=null", "eta:", "eta:\n  stop_after_divergences: null"),
    ]:
        edited = small.replace(old, new)
        assert edited != small
        assert parse(small, [override]) == parse(edited)


def test_an_override_of_a_range_replaces_the_other_kind_of_range() -> None:
    assert rates(load(QUICKSTART, ["eta.values.linear=[1, 2, 3]"])) == (1.0, 1.5, 2.0)


def test_an_override_wins_over_every_block(small: str) -> None:
    text = small + "grids:\n- problem: {width: 8}\n- problem: {width: 16, seed: 1}\n"
    columns = parse(text, ["problem.width=32"]).columns
    assert [(c.problem.width, c.problem.seed) for c in columns] == [(32, 0), (32, 1)]
    assert len(parse(text, ["grids=[]"]).columns) == 1


def test_an_override_mends_a_wrong_value_of_the_file(small: str) -> None:
    assert parse(small.replace("64", "-64"), ["problem.width=64"]) == parse(small)


def test_grids_are_united_and_shared_columns_unite_their_rates(small: str) -> None:
    sweep = parse(
        small
        + """
grids:
  - problem: {width: [8, 16]}
  - problem: {width: [16, 32]}
    eta: {values: [1, 8]}
  - problem: {width: 16}
    eta: {values: [0.25], unit: absolute}
"""
    )
    assert [c.problem.width for c in sweep.columns] == [8, 16, 32]
    first, shared, last = sweep.columns
    assert first.etas == (EtaGrid(unit="eta_c", multiples=(0.5, 1.0, 2.0)),)
    assert last.etas == (EtaGrid(unit="eta_c", multiples=(1.0, 8.0)),)
    assert shared.etas == (
        EtaGrid(unit="eta_c", multiples=(0.5, 1.0, 2.0, 8.0)),
        EtaGrid(unit="absolute", multiples=(0.25,)),
    )
    assert tuple(shared.learning_rates(0.5)) == (0.25, 0.5, 1.0, 4.0)


def test_a_rate_of_two_units_or_two_multiples_counts_once_as_the_first_of_them(small: str) -> None:
    values = [0.1, math.nextafter(0.1, 1), 2.0]
    text = f"""{small}
grids:
  - eta: {{values: [0.25, 4.0], unit: absolute}}
  - eta: {{values: [1.0], unit: init_sharpness}}
  - eta: {{values: {values}, unit: eta_c}}
"""
    (column,) = parse(text).columns
    assert column.learning_rates(2.0, 0.25) == {
        0.2: AskedRate("eta_c", 0.1),
        math.nextafter(0.1, 1) * 2.0: AskedRate("eta_c", math.nextafter(0.1, 1)),
        0.25: AskedRate("init_sharpness", 1.0),
        4.0: AskedRate("eta_c", 2.0),
    }
    rounding = 0.05  # at which both multiples come to one η
    assert 0.1 * rounding == math.nextafter(0.1, 1) * rounding
    assert column.learning_rates(rounding, 0.25)[0.1 * rounding] == AskedRate("eta_c", 0.1)


def test_a_block_overrides_what_it_names_and_nothing_else(small: str) -> None:
    text = small.replace("epsilon: 0.1", "epsilon: 0.1\n  max_steps: 7")
    (column,) = parse(text + "grids: [{stop: {epsilon: [0.2]}}]").columns
    assert column.protocol == Protocol(epsilons=(0.2,), max_steps=7)


def test_the_file_may_leave_to_its_blocks_what_each_of_them_says() -> None:
    sweep = parse(
        """
name: halves
eta: {values: [1]}
grids:
  - {problem: {dataset: digits, n_train: 5}, stop: {epsilon: 0.1}}
  - {problem: {dataset: digits, n_train: 5}, stop: {epsilon: 0.2}}
"""
    )
    assert [c.protocol.epsilons for c in sweep.columns] == [(0.1,), (0.2,)]


def test_blocks_may_differ_in_resources_where_they_share_no_column(small: str) -> None:
    sweep = parse(
        small
        + "grids: [{problem: {width: 8}}, {problem: {width: 9}, resources: {cpus_per_worker: 2}}]"
    )
    assert [c.resources.cpus_per_worker for c in sweep.columns] == [1, 2]


def test_a_column_makes_its_trials(small: str) -> None:
    (column,) = parse(small).columns
    flow, gd = column.flow(), column.at(0.25)
    assert flow == Trial(problem=column.problem, protocol=column.protocol, kind="flow")
    assert (gd.kind, gd.learning_rate) == ("gd", 0.25)
    assert column.column_id == flow.column_id == gd.column_id


def test_learning_rates_scale_with_eta_c_in_its_unit_only(small: str) -> None:
    (relative,) = parse(small).columns
    (absolute,) = parse(small, ["eta.unit=absolute"]).columns
    (initial,) = parse(small, ["eta.unit=init_sharpness"]).columns
    assert tuple(relative.learning_rates(0.25)) == (0.125, 0.25, 0.5)
    assert tuple(absolute.learning_rates(0.25)) == (0.5, 1.0, 2.0)
    assert tuple(initial.learning_rates(0.25, 0.125)) == (0.0625, 0.125, 0.25)
    assert relative.column_id == absolute.column_id == initial.column_id
    with pytest.raises(ValueError, match="init_sharpness is None"):
        initial.learning_rates(0.25)


POSITIVE = st.floats(1e-6, 1e6)


@example(1000000.0, 999999.9999999999, 11)
@given(POSITIVE, POSITIVE, st.integers(2, 200))
def test_ranges_keep_their_ends_exactly_and_are_even_between(a: float, b: float, n: int) -> None:
    low, high = sorted((a, b))
    if low == high:
        high = 2 * low
    by_ratio, by_difference = geometric(low, high, n), linear(low, high, n)
    for spread in (by_ratio, by_difference):
        assert (spread[0], spread[-1], len(spread)) == (low, high, n)
        assert list(spread) == sorted(spread)
    # A rounding to 15 digits moves a rate by at most 5e-15 of itself.
    for i, (r, d) in enumerate(zip(by_ratio, by_difference, strict=True)):
        share = i / (n - 1)
        assert math.isclose(
            math.log(r), math.log(low) + share * math.log(high / low), rel_tol=1e-13, abs_tol=1e-13
        )
        assert math.isclose(d, low + share * (high - low), rel_tol=1e-13)


def test_ranges_of_known_rates() -> None:
    assert geometric(0.25, 4.0, 5) == (0.25, 0.5, 1.0, 2.0, 4.0)
    assert geometric(0.001, 1.0, 4) == (0.001, 0.01, 0.1, 1.0)
    assert linear(0.1, 0.5, 5) == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert geometric(1e-300, 1e300, 3) == (1e-300, 1.0, 1e300)
    assert geometric(3.0, 3.0, 1) == linear(3.0, 3.0, 1) == (3.0,)


def test_very_many_columns_of_which_half_are_asked_for_twice(small: str) -> None:
    seeds, widths = list(range(200)), list(range(1, 101))
    overrides = [f"problem.seed={seeds}", f"grids=[{{}}, {{problem: {{width: {widths}}}}}]"]
    text = small.replace("width: 64", f"width: {widths[:50]}")
    columns = parse(text, overrides).columns
    assert len({column.problem for column in columns}) == len(columns) == 20_000


def test_a_list_of_fifty_thousand_values_is_read(small: str) -> None:
    text = small.replace("[0.5, 1, 2]", str(list(range(1, 50_001))))
    assert len(rates(parse(text))) == 50_000


def test_the_package_stands_alone_without_the_heavy_libraries() -> None:
    heavy = {"torch", "numpy", "ray", "pyarrow", "duckdb", "pandas", "matplotlib"}
    code = f"import sys, orchestrator.sweep; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("spacing", [geometric, linear])
@pytest.mark.parametrize("ends", [(0.0, 0.0, 1), (-1.0, -1.0, 1), (1.0, 2.0, 1), (2.0, 1.0, 3)])
def test_rates_lie_between_two_different_ends_above_0_or_there_is_one(spacing, ends):
    assert spacing(0.5, 0.5, 1) == (0.5,)
    with pytest.raises(ValueError, match="lie evenly"):
        spacing(*ends)
