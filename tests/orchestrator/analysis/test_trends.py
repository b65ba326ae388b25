"""Trends against laws that are known, and their slopes against scipy."""

import math

import numpy as np
import pytest
from scipy.stats import linregress, t

from orchestrator.analysis.bounds import SAME_WIDTHS
from orchestrator.store import TRENDS


def widths(values, **fields):
    return [{"width": width, **fields} for width in values]


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.7, 2.0])
def test_a_power_law_has_its_power_and_its_direction(sweep, rate, power) -> None:
    tables = sweep(widths([16, 32, 64, 128]), rate(lambda p, _: 3 * p["width"] ** -power))
    row = tables.row("trends", field="width")
    assert row["s_gf_slope"] == pytest.approx(power)
    assert row["s_gf_slope_low"] == pytest.approx(power)
    assert row["s_gf_slope_high"] == pytest.approx(power)
    assert row["s_gf_change"] == pytest.approx(8**power)
    assert row["s_gf_ratio"] == pytest.approx(8 ** abs(power))
    assert (row["verdict"], row["reason"]) == ("rises" if power > 0 else "falls", None)
    assert (row["n_values"], row["n_known"], row["parameterization"]) == (4, 4, "standard")
    assert tables.tables["trends"].schema.equals(TRENDS)


def test_slope_and_interval_are_those_of_scipy(sweep, rate) -> None:
    noise = dict(zip((10, 20, 50, 90, 200), (0.1, -0.2, 0.05, 0.3, -0.1), strict=True))
    tables = sweep(widths(noise), rate(lambda p, _: 2 * math.exp(noise[p["width"]])))
    x = np.log(list(noise))
    fit = linregress(x, -np.array(list(noise.values())))
    half = t.ppf(0.975, len(x) - 2) * fit.stderr
    row = tables.row("trends", field="width")
    found = [row[name] for name in ("s_gf_slope", "s_gf_slope_low", "s_gf_slope_high")]
    assert found == pytest.approx([fit.slope, fit.slope - half, fit.slope + half])


def test_two_values_have_a_ratio_and_no_slope(sweep, rate) -> None:
    row = sweep(widths([16, 32]), rate(lambda p, _: 1.6 / p["width"])).row("trends", field="width")
    assert (row["s_gf_ratio"], row["s_gf_slope"], row["verdict"]) == (
        pytest.approx(2),
        None,
        "rises",
    )


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ((1.0, 1.1, SAME_WIDTHS - 1e-6), "independent"),
        ((1.0, 1.1, SAME_WIDTHS + 1e-6), "falls"),
        ((2.0, 1.5, 1.0), "rises"),
        ((1.0, 2.0, 1.5), "differs"),
        ((1.0, 1.0, 2.0), "falls"),
    ],
)
def test_verdicts_on_sizes(sweep, rate, rates, verdict) -> None:
    """A larger η_c is a smaller s_gf."""
    by_depth = dict(zip((1, 2, 3), rates, strict=True))
    tables = sweep(
        [{"depth": depth} for depth in by_depth], rate(lambda p, _: by_depth[p["depth"]])
    )
    assert tables.row("trends", field="depth")["verdict"] == verdict


@pytest.mark.parametrize("field", ["activation", "seed"])
def test_names_and_seeds_do_not_rise(sweep, rate, field) -> None:
    values = ["elu", "relu", "tanh"] if field == "activation" else [0, 1, 2]
    tables = sweep(
        [{field: value} for value in values], rate(lambda p, _: 0.1 * (1 + values.index(p[field])))
    )
    row = tables.row("trends", field=field)
    assert (row["verdict"], row["s_gf_ratio"]) == ("differs", pytest.approx(3))
    assert row["s_gf_slope"] is row["s_gf_change"] is None


def test_fewer_than_two_rates_decide_nothing_and_say_so(sweep, rate) -> None:
    tables = sweep(widths([16, 32, 64]), rate(lambda p, _: 1.0 if p["width"] == 32 else None))
    row = tables.row("trends", field="width")
    assert (row["verdict"], row["reason"]) == ("undecided", "s_gf is known at 1 of 3 values")
    assert row["s_gf_ratio"] is None
    assert (row["n_values"], row["n_known"]) == (3, 1)


def test_rates_are_compared_at_equal_thresholds(sweep, rate) -> None:
    """At ε = 0.1 widths agree; at 0.01 s_gf grows with them."""
    law = rate(lambda p, e: 1.0 if e == 0.1 else 16 / p["width"])
    tables = sweep(widths([16, 32]), law, epsilons=(0.1, 0.01))
    found = {row["epsilon"]: row["verdict"] for row in tables.rows("trends", field="width")}
    assert found == {0.1: "independent", 0.01: "rises"}
    thresholds = tables.rows("trends", field="epsilon")
    assert [row["epsilon"] for row in thresholds] == [None, None]
    assert sorted(row["verdict"] for row in thresholds) == ["falls", "independent"]


def test_every_parameterization_and_every_seed_is_a_row_of_its_own(sweep, rate) -> None:
    problems = [
        {"width": width, "seed": seed, "parameterization": name, "base_width": base}
        for width in (16, 64, 256)
        for seed in (0, 1)
        for name, base in (("standard", None), ("mup", 16))
    ]
    law = rate(lambda p, _: 0.1 if p["parameterization"] == "mup" else 0.1 * p["width"])
    tables = sweep(problems, law)
    found = [
        (row["parameterization"], row["verdict"]) for row in tables.rows("trends", field="width")
    ]
    assert sorted(found) == [("mup", "independent")] * 2 + [("standard", "falls")] * 2
    across_names = tables.rows("trends", field="parameterization")
    assert {row["parameterization"] for row in across_names} == {None}


def test_depth_zero_has_a_ratio_but_no_logarithm(sweep, rate) -> None:
    law = rate(lambda p, _: 0.5 ** p["depth"])
    tables = sweep([{"depth": depth} for depth in (0, 1, 2, 4)], law)
    row = tables.row("trends", field="depth")
    assert (row["verdict"], row["s_gf_ratio"]) == ("rises", pytest.approx(16))
    x, y = np.log([1, 2, 4]), np.log([2, 4, 16])
    assert row["s_gf_slope"] == pytest.approx(linregress(x, y).slope)


def test_columns_of_one_problem_count_as_one_value(sweep, rate) -> None:
    """As under two protocols."""
    tables = sweep(widths([16, 16, 32, 64]), rate(lambda p, _: 1 / p["width"]))
    row = tables.row("trends", field="width")
    assert (row["n_values"], row["s_gf_slope"]) == (3, pytest.approx(1))


def test_one_step_back_in_a_long_rise_is_still_a_rise(sweep, rate) -> None:
    rates = {10: 9.0, 20: 6.0, 40: 6.3, 80: 4.0, 160: 2.6, 320: 1.8}
    problems = [{"n_train": n} for n in rates]
    row = sweep(problems, rate(lambda p, _: rates[p["n_train"]])).row("trends", field="n_train")
    assert row["s_gf_slope_low"] > 0
    assert row["verdict"] == "rises"
