"""Each statement with data for which it is known to be right, wrong or open."""

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.analysis.bounds import EDGE, FLAT, KINK
from orchestrator.store import FINDINGS

RIGHT = {
    "eta_c": 0.1, "eta_c_fitted": 0.11, "flat_spread": 0.01, "edge_ratio": 1.02, "l1_flow": 50.0,
    "l1_slope": 20.0, "l1_flat": 50.2, "l1_rises": True, "u_shaped": True,
    "eta_best_over_eta_c": 2.0,
}  # fmt: skip

STATEMENTS = {
    "flat_below": {"flat_spread": FLAT * 1.01},
    "edge_above": {"edge_ratio": EDGE[1] * 1.01},
    "kink": {"eta_c_fitted": 0.1 * KINK[0] * 0.99},
    "norm_flat": {"l1_flat": 48.9},
    "norm_rises": {"l1_rises": False},
    "valley": {"u_shaped": False},
}
OPEN = {
    "flat_below": "flat_spread",
    "edge_above": "edge_ratio",
    "kink": "eta_c_fitted",
    "norm_flat": "l1_flat",
    "norm_rises": "l1_rises",
    "valley": "u_shaped",
}


def found(sweep, statement: str, *changes) -> dict[str, object]:
    by_seed = dict(enumerate(changes))
    tables = sweep([{"seed": seed} for seed in by_seed], lambda p, _: RIGHT | by_seed[p["seed"]])
    assert tables.tables["findings"].schema.equals(FINDINGS)
    return tables.row("findings", statement_id=statement)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_holds_where_all_columns_bear_it_out(sweep, statement) -> None:
    row = found(sweep, statement, {}, {})
    assert (row["verdict"], row["n_holds"], row["n_decided"], row["n_undecided"]) == (
        *("holds", 2, 2, 0),
    )
    assert "Right in 2 of 2" in row["numbers"]
    assert "(100 %)" in row["numbers"]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_one_column_that_refutes_it_is_enough(sweep, statement) -> None:
    row = found(sweep, statement, {}, {}, STATEMENTS[statement])
    assert (row["verdict"], row["n_holds"], row["n_decided"]) == ("does not hold", 2, 3)
    assert "Right in 2 of 3" in row["numbers"]
    assert "(67 %)" in row["numbers"]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_columns_that_do_not_decide_are_counted(sweep, statement) -> None:
    unknown = {OPEN[statement]: None}
    row = found(sweep, statement, {}, unknown)
    assert (row["verdict"], row["n_decided"], row["n_undecided"]) == ("holds", 1, 1)
    assert row["numbers"].endswith("; 1 undecided.")
    none = found(sweep, statement, unknown, unknown)
    assert (none["verdict"], none["n_decided"], none["value_median"]) == ("undecided", 0, None)
    assert none["numbers"].startswith("None of 2")


def test_a_column_without_a_bend_refutes_the_kink(sweep) -> None:
    row = found(sweep, "kink", {}, {"eta_c_fitted": None, "transition": False})
    assert (row["verdict"], row["n_holds"], row["n_decided"]) == ("does not hold", 1, 2)


def test_the_numbers_are_the_least_the_median_and_the_largest(sweep) -> None:
    row = found(sweep, "edge_above", *({"edge_ratio": ratio} for ratio in (1.1, 0.95, 1.0)))
    assert [row[f"value_{name}"] for name in ("low", "median", "high")] == [0.95, 1.0, 1.1]
    assert (row["wanted_low"], row["wanted_high"]) == EDGE
    assert "median S·η/2 0.95 to 1.1, median 1" in row["numbers"]


def test_intervals_that_hold_the_expected_value_are_counted(sweep) -> None:
    wide = {"eta_c_fitted_low": 0.09, "eta_c_fitted_high": 0.12}
    wide |= {"edge_exponent_low": -1.1, "edge_exponent_high": -0.9}
    narrow = {"eta_c_fitted_low": 0.105, "eta_c_fitted_high": 0.12}
    narrow |= {"edge_exponent_low": -0.9, "edge_exponent_high": -0.8}
    kink = found(sweep, "kink", wide, wide, narrow)
    assert kink["numbers"].endswith("2/s_gf lies within the 95 % interval in 2 of 3.")
    edge = found(sweep, "edge_above", wide, narrow)
    assert edge["numbers"].endswith("The exponent −1 lies within the 95 % interval in 1 of 2.")
    assert "interval" not in found(sweep, "kink", {}, {})["numbers"]


def test_a_share_is_100_per_cent_only_if_all_are_right(sweep) -> None:
    row = found(sweep, "edge_above", *[{}] * 299, {"edge_ratio": 2.0})
    assert (
        "Right in 299 of 300 columns and thresholds (99 %, 95 % interval 98 to 99 %)"
        in row["numbers"]
    )


def test_valleys_over_seeds_are_asked_where_there_are_any(sweep) -> None:
    valleys = pa.table({"u_shaped": [True, True, None], "eta_best_over_eta_c": [1.5, 2.5, 3.0]})
    tables = sweep([{}], lambda *_: RIGHT | {"u_shaped": False}, valleys=valleys)
    row = tables.row("findings", statement_id="valley")
    assert (row["verdict"], row["n_decided"], row["n_undecided"]) == ("holds", 2, 1)
    assert row["value_median"] == 2.0
    assert "over seeds" in row["numbers"]


def test_width_is_asked_per_parameterization(sweep, rate) -> None:
    problems = [
        {"width": width, "parameterization": name, "base_width": base}
        for width in (16, 64)
        for name, base in (("standard", None), ("mup", 16))
    ]
    law = rate(lambda p, _: 0.1 if p["parameterization"] == "mup" else 0.1 * p["width"])
    tables = sweep(problems, law)
    mup = tables.row("findings", statement_id="width_mup")
    standard = tables.row("findings", statement_id="width_standard")
    assert (mup["verdict"], mup["value_median"]) == ("holds", pytest.approx(1))
    assert (standard["verdict"], standard["value_median"]) == ("does not hold", pytest.approx(4))


def test_more_samples_raise_s_gf(sweep, rate) -> None:
    tables = sweep([{"n_train": n} for n in (50, 100, 200)], rate(lambda p, _: 1 / p["n_train"]))
    row = tables.row("findings", statement_id="samples")
    assert (row["verdict"], row["value_median"]) == ("holds", pytest.approx(4))
    fewer = sweep([{"n_train": n} for n in (50, 100)], rate(lambda p, _: p["n_train"]))
    assert fewer.row("findings", statement_id="samples")["verdict"] == "does not hold"
    for s_gf in ((20.0, 20.00001), (20.0, 10.0, 60.0, 21.0)):
        problems = [{"n_train": 50 * 2**k} for k in range(len(s_gf))]
        law = rate(lambda p, _, of=s_gf: 2 / of[int(np.log2(p["n_train"] / 50))])
        row = sweep(problems, law).row("findings", statement_id="samples")
        assert row["verdict"] == "does not hold"


def test_proportional_rates_hold_and_others_do_not(sweep) -> None:
    problems = [{"width": width} for width in (10, 20, 40, 80)]

    def power(exponent):
        return lambda p, _: {"eta_c": p["width"], "eta_c_fitted": p["width"] ** exponent}

    right, wrong = sweep(problems, power(1.0)), sweep(problems, power(0.8))
    assert right.row("findings", statement_id="proportional")["verdict"] == "holds"
    found = wrong.row("findings", statement_id="proportional")
    assert (found["verdict"], found["value_median"]) == ("does not hold", pytest.approx(0.8))
    few = sweep(problems[:2], power(1.0)).row("findings", statement_id="proportional")
    assert (few["verdict"], few["n_undecided"]) == ("undecided", 1)


def test_an_empty_run_is_asked_everything_and_decides_nothing(sweep) -> None:
    rows = sweep([], lambda *_: {}).rows("findings")
    assert len({row["statement_id"] for row in rows}) == len(rows) > 15
    assert {row["verdict"] for row in rows} == {"undecided"}


def test_a_cloud_without_a_line_refutes_no_proportion(sweep) -> None:
    """Predicted rates over a factor of 1.6, fitted ones off by 10 %: r² is low whatever the law."""
    off = 0.1 * np.random.default_rng(0).standard_normal(12)
    problems = [{"width": int(1000 * 1.6 ** (number / 11)), "seed": number} for number in range(12)]

    def law(problem, _):
        rate = problem["width"]
        return {"eta_c": rate, "eta_c_fitted": rate * np.exp(off[problem["seed"]])}

    row = sweep(problems, law).row("findings", statement_id="proportional")
    assert row["value_low"] < 1 < row["value_high"]
    assert row["verdict"] == "undecided"
    assert row["numbers"].startswith("Slope of log η_c fitted on predicted ")


@pytest.mark.parametrize(
    ("fitted", "half", "verdict"),
    [(1.3, 0.2, "holds"), (1.4, 0.1, "undecided"), (1.4, 0.01, "does not hold")],
)
def test_a_kink_is_refuted_only_by_all_of_its_interval(sweep, fitted, half, verdict) -> None:
    at = {"eta_c_fitted_low": fitted - half, "eta_c_fitted_high": fitted + half}
    law = {"eta_c": 1.0, "eta_c_fitted": fitted, "transition": True, **at}
    row = sweep([{}], lambda *_: law).row("findings", statement_id="kink")
    assert row["verdict"] == verdict
