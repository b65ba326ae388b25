"""Groups hold the columns that differ in one field alone, at every ε they share."""

import pytest

from orchestrator.store import DEPENDENCE


def members(tables, field: str, epsilon: float = 0.1) -> list[list[str]]:
    """The values of each group of a field, as text."""
    found: dict[object, list[str]] = {}
    for row in tables.rows("dependence", field=field, epsilon=epsilon):
        found.setdefault(row["group_id"], []).append(str(row["value_text"]))
    return sorted(found.values())


def test_columns_that_differ_in_two_fields_are_in_no_group_together(sweep, rate) -> None:
    problems = [{"width": 16}, {"width": 32}, {"width": 64, "seed": 1}]
    tables = sweep(problems, rate(lambda *_: 0.1))
    assert members(tables, "width") == [["16", "32"]]
    assert members(tables, "seed") == members(tables, "depth") == []
    assert tables.tables["dependence"].schema.equals(DEPENDENCE)


def test_every_seed_has_its_own_group_and_every_group_its_name(sweep, rate) -> None:
    problems = [{"width": width, "seed": seed} for seed in (0, 1, 2) for width in (64, 16)]
    tables = sweep(problems, rate(lambda *_: 0.1))
    assert members(tables, "width") == [["16", "64"]] * 3
    assert members(tables, "seed") == [["0", "1", "2"]] * 2
    names = {row["group_id"] for row in tables.rows("dependence")}
    again = sweep(reversed(problems), rate(lambda *_: 0.1))
    assert len(names) == 5
    assert names == {row["group_id"] for row in again.rows("dependence")}


def test_standard_is_compared_with_mup_and_ntk_of_every_base_width(sweep, rate) -> None:
    """It has no base width itself."""
    scaled = [
        {"parameterization": name, "base_width": base}
        for name in ("ntk", "mup")
        for base in (8, 16)
    ]
    tables = sweep([{}, *scaled], rate(lambda *_: 0.1))
    assert members(tables, "parameterization") == [["mup", "ntk", "standard"]] * 2
    lone = sweep([{}, scaled[0]], rate(lambda *_: 0.1))
    assert members(lone, "parameterization") == [["ntk", "standard"]]


def test_under_mup_widths_are_compared_at_one_base_width(sweep, rate) -> None:
    problems = [
        {"width": width, "parameterization": "mup", "base_width": base}
        for width in (16, 32)
        for base in (8, 16)
    ]
    tables = sweep(problems, rate(lambda *_: 0.1))
    assert members(tables, "width") == [["16", "32"]] * 2
    assert {row["parameterization"] for row in tables.rows("dependence", field="width")} == {"mup"}


def test_the_base_width_is_among_the_widths_of_mup_and_of_the_standard_one(sweep, rate) -> None:
    """At it the two are one problem, which is named standard."""
    widths = [{"width": width} for width in (64, 128)]
    scaled = {"parameterization": "mup", "base_width": 64}
    problems = [*widths, {**scaled, "width": 128}, {**scaled, "width": 256}]
    tables = sweep(problems, rate(lambda *_: 0.1))
    assert members(tables, "width") == [["64", "128"], ["64", "128", "256"]]
    (mup,) = tables.rows("trends", field="width", parameterization="mup")
    (standard,) = tables.rows("trends", field="width", parameterization="standard")
    assert (mup["n_values"], standard["n_values"]) == (3, 2)
    other = sweep([*problems, {"width": 64, "seed": 1}], rate(lambda *_: 0.1))
    assert members(other, "width") == members(tables, "width")


def test_a_linear_model_is_the_least_depth_of_every_network(sweep, rate) -> None:
    """It has no width and no activation."""
    linear = {"depth": 0, "width": None, "activation": None}
    deep = [{"depth": depth, "width": width} for depth in (1, 2) for width in (16, 32)]
    tables = sweep([linear, *deep], rate(lambda *_: 0.1))
    assert members(tables, "depth") == [["0", "1", "2"]] * 2
    assert members(tables, "width") == [["16", "32"]] * 2


def test_a_network_without_activation_is_compared_under_every_activation(sweep, rate) -> None:
    own = "net.py:build(width)@0123456789abcdef"
    problems = [{"activation": name} for name in ("relu", "tanh")]
    problems.append({"architecture": own, "depth": None, "activation": None})
    tables = sweep(problems, rate(lambda *_: 0.1))
    assert members(tables, "architecture") == [["fcn", own]] * 2
    assert members(tables, "activation") == [["relu", "tanh"]]


def test_architectures_may_differ_in_size_as_long_as_each_has_one(sweep, rate) -> None:
    """A channel is no neuron."""
    cnn = {"architecture": "cnn", "width": 8, "depth": 1}
    diagonal = {"architecture": "diagonal", "width": None}
    assert members(sweep([{}, cnn, diagonal], rate(lambda *_: 1.0)), "architecture") == [
        ["cnn", "diagonal", "fcn"]
    ]
    several = [{"width": 16}, {"width": 32}, cnn, {"architecture": "cnn", "width": 32}]
    tables = sweep(several, rate(lambda *_: 1.0))
    assert members(tables, "architecture") == [["cnn", "fcn"]]


def test_datasets_may_differ_in_their_normalization(sweep, rate) -> None:
    tables = sweep([{}, {"dataset": "cifar10", "normalization": "feature"}], rate(lambda *_: 1.0))
    assert members(tables, "dataset") == [["cifar10", "mnist-mini"]]


def test_thresholds_are_compared_within_a_column(sweep, rate) -> None:
    tables = sweep([{}, {"seed": 1}], rate(lambda _, e: e), epsilons=(0.1, 0.02))
    found = tables.rows("dependence", field="epsilon")
    assert [row["value_number"] for row in found] == [0.02, 0.1] * 2
    assert all(row["epsilon"] == row["value_number"] for row in found)
    assert len({row["group_id"] for row in found}) == 2
    assert sweep([{}], rate(lambda _, e: e)).rows("dependence") == []


def test_a_row_has_the_numbers_of_its_column_at_its_threshold(sweep, rate) -> None:
    def law(problem, epsilon):
        eta_c = problem["width"] * epsilon / 100
        return {"eta_c": eta_c, "eta_c_fitted": 1.1 * eta_c, "l1_flow": 7.0, "edge_ratio": 1.02}

    tables = sweep([{"width": 20}, {"width": 50}], law, epsilons=(0.1, 0.05))
    row = tables.row("dependence", field="width", value_number=50, epsilon=0.05)
    assert (row["value_text"], row["column_id"]) == ("50", "0001-column")
    assert row["s_gf"] == pytest.approx(2 / 0.025)
    assert (row["eta_c_fitted"], row["l1_flow"], row["edge_ratio"]) == (
        pytest.approx(0.0275),
        7.0,
        1.02,
    )


def test_a_flow_that_did_not_reach_has_its_row_without_a_rate(sweep, rate) -> None:
    tables = sweep(
        [{"width": 16}, {"width": 32}], rate(lambda p, _: 0.1 if p["width"] == 16 else None)
    )
    assert [row["s_gf"] for row in tables.rows("dependence", field="width")] == [20.0, None]


def test_names_have_no_number(sweep, rate) -> None:
    tables = sweep([{"loss": "mse"}, {"loss": "ce"}], rate(lambda *_: 1.0))
    rows = tables.rows("dependence", field="loss")
    assert [(row["value_text"], row["value_number"]) for row in rows] == [
        ("ce", None),
        ("mse", None),
    ]
