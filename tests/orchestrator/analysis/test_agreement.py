"""The line of fitted on predicted η_c against a closed form and against scipy."""

import numpy as np
import pytest
from scipy.stats import linregress, t

from orchestrator.analysis.agreement import agreement_table
from orchestrator.analysis.columns import columns_table
from orchestrator.store import AGREEMENT


def law(fitted):
    """Predicted η_c is width/100, the fitted one a function of it and of the seed."""

    def both(problem, epsilon):
        eta_c = problem["width"] / 100
        return {"eta_c": eta_c, "eta_c_fitted": fitted(eta_c, problem["seed"])}

    return both


def test_a_power_law_gives_its_power_and_factor(sweep) -> None:
    problems = [{"width": width} for width in (10, 20, 40, 80)]
    tables = sweep(problems, law(lambda eta_c, _: 1.2 * eta_c**0.9))
    row = tables.row("agreement", scope_field="all")
    assert row["slope"] == pytest.approx(0.9)
    assert row["intercept"] == pytest.approx(np.log(1.2))
    assert row["r2"] == pytest.approx(1)
    assert (row["slope_low"], row["slope_high"]) == (pytest.approx(0.9), pytest.approx(0.9))
    assert (row["n"], row["n_undecided"], row["scope_value"]) == (4, 0, None)
    assert tables.tables["agreement"].schema.equals(AGREEMENT)


def test_line_interval_and_quantiles_are_those_of_scipy_and_numpy(sweep) -> None:
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal(60))
    problems = [{"width": 10 + number, "seed": number} for number in range(60)]
    tables = sweep(problems, law(lambda eta_c, seed: eta_c * noise[seed]))
    row = tables.row("agreement", scope_field="all")
    x = np.log(np.arange(10, 70) / 100)
    fit = linregress(x, x + np.log(noise))
    half = t.ppf(0.975, 58) * fit.stderr
    expected = [fit.slope, fit.slope - half, fit.slope + half, fit.intercept, fit.rvalue**2]
    names = ("slope", "slope_low", "slope_high", "intercept", "r2")
    assert [row[name] for name in names] == pytest.approx(expected)
    found = [row[f"ratio_{name}"] for name in ("low", "median", "high")]
    assert found == pytest.approx(np.quantile(noise, [0.025, 0.5, 0.975]).tolist())


def test_of_few_ratios_the_least_and_the_largest_are_given(sweep) -> None:
    problems = [{"width": width, "seed": width} for width in (10, 20, 40)]
    factor = {10: 0.9, 20: 1.0, 40: 1.3}
    row = sweep(problems, law(lambda eta_c, seed: eta_c * factor[seed])).row(
        "agreement", scope_field="all"
    )
    found = [row[f"ratio_{name}"] for name in ("low", "median", "high")]
    assert found == pytest.approx([0.9, 1.0, 1.3])


@pytest.mark.parametrize("widths", [(10, 20), (10, 12, 14)])
def test_few_pairs_or_little_range_have_ratios_and_no_line(sweep, widths) -> None:
    row = sweep([{"width": width} for width in widths], law(lambda eta_c, _: eta_c)).row(
        "agreement", scope_field="all"
    )
    assert row["slope"] is row["slope_low"] is row["r2"] is None
    assert (row["n"], row["ratio_median"]) == (len(widths), pytest.approx(1))


def test_every_value_of_a_field_is_a_scope_with_its_own_undecided(sweep) -> None:
    problems = [{"width": width, "loss": loss} for width in (10, 20, 40) for loss in ("mse", "ce")]

    def half_known(problem, epsilon):
        eta_c = problem["width"] / 100
        return {"eta_c": eta_c, "eta_c_fitted": eta_c if problem["loss"] == "mse" else None}

    tables = sweep(problems, half_known)
    counted = {
        row["scope_value"]: (row["n"], row["n_undecided"])
        for row in tables.rows("agreement", scope_field="loss")
    }
    assert counted == {"ce": (0, 3), "mse": (3, 0)}
    assert tables.row("agreement", scope_value="mse", scope_field="loss")["slope"] == pytest.approx(
        1
    )
    assert tables.row("agreement", scope_value="ce", scope_field="loss")["ratio_median"] is None


def test_no_column_has_one_row_without_numbers(sweep) -> None:
    row = sweep([], lambda *_: {}).row("agreement")
    assert (row["scope_field"], row["n"], row["slope"]) == ("all", 0, None)


def test_the_thresholds_of_a_column_do_not_count_as_independent(sweep) -> None:
    """Ten columns off the line by 10 %, with each of four thresholds off by 2 % more."""
    held = dict.fromkeys(((0.1,), (0.4, 0.2, 0.1, 0.05)), 0)
    for repeat in range(60):
        rng = np.random.default_rng(repeat)
        off = 0.1 * rng.standard_normal(10)
        problems = [{"width": int(10 * 1.2**number), "seed": number} for number in range(10)]
        for epsilons in held:

            def law(problem, _, off=off, rng=rng):
                scatter = off[problem["seed"]] + 0.02 * rng.standard_normal()
                return {
                    "eta_c": problem["width"],
                    "eta_c_fitted": problem["width"] * np.exp(scatter),
                }

            given = sweep(problems, law, epsilons)
            found = agreement_table(columns_table(given.trials), given.phase).to_pylist()
            (row,) = (row for row in found if row["scope_field"] == "all")
            held[epsilons] += row["slope_low"] <= 1 <= row["slope_high"]
            assert row["n"] == 10 * len(epsilons)
    assert min(held.values()) >= 51  # 39 of 60 where each threshold counts


def test_networks_of_one_name_and_other_content_are_scopes_of_their_own(sweep) -> None:
    names = ["net.py:build@0123456789abcdef", "net.py:build@fedcba9876543210"]
    tables = sweep([{"architecture": name} for name in names], law(lambda eta_c, _: eta_c))
    found = tables.rows("agreement", scope_field="architecture")
    assert [row["scope_value"] for row in found] == names
