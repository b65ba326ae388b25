"""Predictions of the best rate: each candidate on columns with known answers."""

import math

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.analysis.candidates import CANDIDATES, Column, NoPredictionError, Others
from orchestrator.analysis.predictions import _row, _summary
from orchestrator.analysis.run import READ_TRIALS, judged
from orchestrator.store import MEASURES, TRIALS
from tests.orchestrator.analysis.conftest import DEFAULTS

ETA = np.array([0.05, 0.1, 0.2, 0.4, 0.8])


def column(best=0.2, **changes):
    """S = 2/η above η_c = 0.1, ‖θ‖₁ rising with η, and the least test loss at ``best``."""
    problem = DEFAULTS | {name: changes.pop(name) for name in list(changes) if name in DEFAULTS}
    given = {
        "column_id": repr(sorted(problem.items(), key=str)),
        "epsilon": 0.1,
        "problem": problem,
        "eta_c": 0.1,
        "eta_0": 0.16,
        "truth": math.nan,
        "eta": ETA,
        "test_loss": 0.5 + np.log(ETA / best) ** 2,
        "sharpness": 2 / np.maximum(ETA, 0.1),
        "l1_norm": 100 + 10 * np.maximum(ETA - 0.1, 0),
        "flow_sharpness": 20.0,
        "flow_l1": 100.0,
        "flow_loss": 1.2,
        "flow_cost": 50.0,
        "grid": 1000.0,
    }
    return Column(**(given | changes))


def predicted(name, one, *others):
    return CANDIDATES[name][0](one, Others([one, *others]))


@pytest.mark.parametrize(
    ("name", "eta", "cost"),
    [
        ("eta_c", 0.1, 50),
        ("twice_eta_c", 0.2, 50),
        ("init_sharpness", 0.16, 20),
        ("largest_stable", 0.8, 1000),
    ],
)
def test_a_column_alone_has_rates_of_its_flow_and_of_its_own_grid(name, eta, cost) -> None:
    assert predicted(name, column()) == (pytest.approx(eta), cost)


def tried(largest=0.4, wanders=()):
    """GD of :func:`column`: its steps are the flow's time, 10, over η, or more where it wanders."""
    loss = 0.5 + np.log(ETA / 0.2) ** 2
    return [
        (eta, its if eta <= largest else None, 10 / eta * (4 if eta in wanders else 1))
        for eta, its in zip(ETA.tolist(), loss.tolist(), strict=True)
    ]


def test_the_best_of_a_few_rates_is_found_for_a_fifth_of_the_cost() -> None:
    # 0.2 = 2 η_c first, then 0.8, which fails in at most 3 · 10 steps over η; both measure.
    grid = {"grid": 2000.0, "flow_time": 10.0}
    eta, cost = predicted("probes", column(**grid, tried=tried()))
    assert (eta, cost) == (0.2, 50 + (50 + 80) + (12.5 + 80))
    # As much again pays for one more, which is next to the best one.
    eta, cost = predicted("probes", column(**grid | {"grid": 2500.0}, tried=tried()))
    assert (eta, cost) == (0.2, 50 + (50 + 80) + (12.5 + 80) + (25 + 80))
    # GD that takes more than three times the flow's time has failed.
    wandering = column(**grid | {"grid": 6000.0}, tried=tried(wanders=(0.2,)))
    assert predicted("probes", wandering)[0] == 0.1
    with pytest.raises(NoPredictionError, match="pays for no rate that reaches ε"):
        predicted("probes", column(grid=500.0, flow_time=10.0, tried=tried()))
    with pytest.raises(NoPredictionError, match="the flow did not come to ε"):
        predicted("probes", column(tried=tried()))


def test_the_multiple_is_learned_from_other_problems_only() -> None:
    own, seed = column(best=0.8), column(best=0.8, seed=1)
    others = [column(best=best, depth=depth) for depth, best in ((3, 0.2), (4, 0.4), (5, 0.4))]
    assert predicted("learned_multiple", own, seed, *others)[0] == pytest.approx(0.4)
    with pytest.raises(NoPredictionError, match="no column of another problem"):
        predicted("learned_multiple", own, seed)


def test_under_mup_the_narrowest_width_hands_on_its_rate_and_otherwise_its_multiple() -> None:
    narrow, wide = {"width": 16, "best": 0.4, "eta_c": 0.2}, {"width": 64, "eta_c": 0.05}
    mup = {"parameterization": "mup", "base_width": 16}
    middle = column(width=32, best=0.8)
    eta, cost = predicted("narrower", column(**wide, **mup), column(**narrow, **mup))
    assert eta == 0.4
    assert 0 < cost < 1000
    eta, _ = predicted("narrower", column(**wide), column(**narrow), middle)
    assert eta == pytest.approx(0.1)
    with pytest.raises(NoPredictionError, match="no column differs in a smaller width alone"):
        predicted("narrower", column(**narrow), column(**wide))


def test_at_the_base_width_mup_is_the_standard_parameterization_and_hands_on_its_rate() -> None:
    narrow = column(width=16, best=0.4)
    wide = column(width=64, parameterization="mup", base_width=16)
    assert predicted("narrower", wide, narrow)[0] == 0.4


def test_fewer_samples_hand_on_the_multiple_and_cost_their_share() -> None:
    few = column(n_train=10, best=0.4, eta_c=0.2)
    eta, cost = predicted("fewer_samples", column(), few)
    assert eta == pytest.approx(0.2)
    assert cost == pytest.approx(1000 * 10 / 100 + 50)


def test_the_loosest_threshold_of_the_same_column_hands_on_its_rate() -> None:
    one = column()
    looser = [column(epsilon=e, best=best, grid=100.0) for e, best in ((0.2, 0.8), (0.5, 0.4))]
    assert predicted("looser_epsilon", one, *looser) == (0.4, 100.0)
    with pytest.raises(NoPredictionError, match="there is no looser ε"):
        predicted("looser_epsilon", looser[1], one)


def test_central_flows_hand_on_the_lowest_point_of_their_parabola() -> None:
    losses = [(eta, (math.log(eta) - math.log(0.3)) ** 2, 700.0) for eta in (0.15, 0.2, 0.4, 0.8)]
    eta, cost = predicted("central", column(central=losses))
    assert eta == pytest.approx(0.3, rel=1e-6)
    assert cost == 4 * 700 + 50
    with pytest.raises(NoPredictionError, match="fewer than 3 central flows"):
        predicted("central", column(central=losses[:2]))


def test_the_knee_is_where_the_norm_has_grown_as_much_as_s_has_yet_to_fall() -> None:
    eta = np.geomspace(0.11, 0.8, 60)
    fine = column(eta=eta, sharpness=2 / eta, l1_norm=100 + 10 * (eta - 0.1), test_loss=np.ones(60))
    found, _ = predicted("knee", fine)
    fallen = (20 - 2 / found) / (20 - 2 / 0.8)
    assert (found - 0.1) / 0.7 == pytest.approx(1 - fallen, abs=1e-3)
    with pytest.raises(NoPredictionError, match="do not change in opposite directions"):
        predicted("knee", column(eta_c=0.04, l1_norm=100 - ETA, sharpness=20 + ETA))


def test_the_truth_is_its_own_edge() -> None:
    assert predicted("truth", column(truth=0.33)) == (0.33, 0.0)
    with pytest.raises(NoPredictionError, match="no known truth"):
        predicted("truth", column())


def test_the_regret_is_that_of_the_test_loss_at_the_predicted_rate() -> None:
    one, seed = column(best=0.4), column(best=0.2, seed=1)
    row = _row(one, Others([one, seed]), "twice_eta_c")
    assert row["eta_best"] == 0.4
    assert (row["eta_best_low"], row["eta_best_high"]) == (pytest.approx(0.2), pytest.approx(0.4))
    assert row["error"] == pytest.approx(math.log(0.5))
    assert row["regret"] == pytest.approx(math.log(2) ** 2 / 0.5)
    assert row["cost"] == pytest.approx(0.05)
    assert row["reaches"]


def test_between_measured_rates_the_test_loss_is_interpolated_in_log_eta() -> None:
    one = column()
    middle = (one.test_loss[1] + one.test_loss[2]) / 2
    assert one.loss_at(math.sqrt(0.1 * 0.2)) == pytest.approx(middle)
    assert one.loss_at(0.02) == 1.2  # the flow's
    assert one.loss_at(0.9) is None


def test_a_rate_at_which_gd_never_reached_the_threshold_has_no_regret() -> None:
    one = column(eta_0=3.0)
    row = _row(one, Others([one]), "init_sharpness")
    assert (row["reaches"], row["regret"]) == (False, None)
    assert row["undecided"] == "GD reached ε at no rate as large"
    assert row["eta_best_low"] is None


def test_the_summary_counts_what_does_not_predict() -> None:
    columns = [column(best=best, depth=d, eta_c=best / 2) for d, best in enumerate((0.1, 0.2, 0.4))]
    seeds = [
        column(best=one.eta_best, eta_c=one.eta_c, **one.problem | {"seed": 1}) for one in columns
    ]
    others = Others([*columns, *seeds])
    rows = [_row(one, others, "twice_eta_c") for one in columns]
    found = _summary("twice_eta_c", [*rows, {"eta": None}])
    assert (found["n"], found["n_without"], found["n_beyond"]) == (3, 1, 0)
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["error_median"] == pytest.approx(0.0)
    assert found["regret_median"] == pytest.approx(0.0)
    assert found["within_seeds"] == 1.0


def test_tables_of_trials_become_predictions_with_intervals_over_seeds() -> None:
    rows = []
    for seed, best in ((0, 0.2), (1, 0.4)):
        shared = {**DEFAULTS, "column_id": f"c{seed}", "seed": seed, "epsilon": 0.1}
        shared |= {"status": "reached", "sharpness_converged": True, "init_sharpness": 12.5}
        shared |= {"s_gf": 20.0, "eta_c": 0.1, "flow_id": f"f{seed}", "gradients": 30, "hvps": 20}
        flow = {"trial_id": f"f{seed}", "kind": "flow", "sharpness": 20.0, "l1_norm": 100.0}
        rows.append({**shared, **flow, "test_loss": 1.2})
        for eta in ETA.tolist():
            measured = {"sharpness": 2 / max(eta, 0.1), "l1_norm": 100 + 10 * max(eta - 0.1, 0)}
            measured["test_loss"] = 0.5 + math.log(eta / best) ** 2
            gd = {"trial_id": f"{seed}-{eta}", "kind": "gd", "eta": eta}
            rows.append({**shared, **gd, **measured, "eta_over_eta_c": eta / 0.1})
    schema = pa.schema([TRIALS.field(name) for name in READ_TRIALS])
    tables, _ = judged(pa.Table.from_pylist(rows, schema=schema), MEASURES.empty_table())
    found = {(row["column_id"], row["candidate"]): row for row in tables["predictions"].to_pylist()}
    assert len(found) == 2 * len(CANDIDATES)
    first = found["c0", "twice_eta_c"]
    assert (first["eta_best_low"], first["eta_best_high"]) == (
        pytest.approx(0.2), pytest.approx(0.4)
    )  # fmt: skip
    assert first["cost"] == pytest.approx(50 / 250)
    assert found["c1", "twice_eta_c"]["error"] == pytest.approx(math.log(0.5))
    assert found["c1", "eta_c"]["eta"] == pytest.approx(0.1)
    assert found["c0", "learned_multiple"]["eta"] is None
    names = [row["candidate"] for row in tables["predictors"].to_pylist()]
    assert names == list(CANDIDATES)
