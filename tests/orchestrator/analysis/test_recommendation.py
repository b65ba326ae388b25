"""The recommended rate: what it follows from, and the evidence for such rates."""

from __future__ import annotations

import math

import pytest

from orchestrator.analysis.recommendation import EVIDENCE, recommendations, rows_with_flows

SHARED = {"column_id": "c", "epsilon": 0.1, "loss": "mse", "eta_c": 0.5, "flow_id": "f"}


def flow(**changes):
    its = {"kind": "flow", "trial_id": "f", "status": "reached", "eta": None, "sharpness": 4.0}
    return {**SHARED, **its, "test_loss": 0.9, **changes}


def gd(eta, test_loss, **changes):
    its = {"kind": "gd", "trial_id": f"{eta}", "status": "reached", "eta": eta}
    return {**SHARED, **its, "sharpness": 2 / eta, "test_loss": test_loss, **changes}


def test_the_best_of_the_rates_that_were_tried_and_the_evidence_for_so_many() -> None:
    tried = [gd(1.0, 0.7), gd(2.0, 0.6), gd(4.0, None, status="diverged", sharpness=None)]
    (found,) = recommendations([flow(), *tried])
    assert (found.eta, found.basis, found.beyond) == (2.0, "probes", (4.0,))
    assert found.best == tried[1]
    assert found.reason == "least test loss of 3 rates"
    assert found.evidence == EVIDENCE["probes", "mse"][3]
    (fewer,) = recommendations([flow(), *tried[:2]])
    assert fewer.evidence == EVIDENCE["probes", "mse"][2]
    (more,) = recommendations([flow(), *(gd(1 + n / 10, 0.5) for n in range(9))])
    assert more.evidence == EVIDENCE["probes", "mse"][7]


def test_a_crossing_by_chance_is_not_recommended_however_low_its_test_loss() -> None:
    (found,) = recommendations([flow(), gd(1.0, 0.7), gd(2.0, 0.1, sharpness=1.9)])
    assert (found.eta, found.beyond) == (1.0, (2.0,))


def test_without_test_data_it_is_the_largest_rate() -> None:
    (found,) = recommendations([flow(test_loss=None), gd(1.0, None), gd(2.0, None)])
    assert (found.eta, found.basis) == (2.0, "largest_stable")
    assert found.reason == "largest of 2 rates that came to ε, without test data"


@pytest.mark.parametrize(
    ("failed", "eta", "reason"),
    [
        ([], 1.0, "2 η_c: no rate was tried"),
        ([2.0], 1.0, "2 η_c: none of 1 rate came to ε"),
        ([2.0, 1.0], 0.5, "η_c: none of 2 rates came to ε"),
        ([1.0, 0.5], None, "none of 2 rates came to ε"),
    ],
)
def test_where_no_rate_came_to_epsilon_the_flow_speaks(failed, eta, reason) -> None:
    rows = [gd(rate, None, status="max_steps") for rate in failed]
    (found,) = recommendations([flow(), *rows])
    assert (found.eta, found.reason, found.best) == (eta, reason, None)


def test_nothing_is_recommended_where_the_flow_did_not_come_to_epsilon() -> None:
    (found,) = recommendations([flow(status="max_steps", eta_c=None)])
    assert (found.eta, found.eta_c, found.flow) == (None, None, None)
    assert found.reason == "the flow did not come to ε"


def test_each_threshold_has_a_recommendation_and_a_loss_of_ones_own_no_evidence() -> None:
    rows = [flow(), gd(1.0, 0.7), gd(2.0, 0.8)]
    looser = [{**row, "epsilon": 0.3, "test_loss": 1 - row["test_loss"]} for row in rows]
    found = recommendations([{**row, "loss": "own.py:loss@0"} for row in [*rows, *looser]])
    assert [(one.epsilon, one.eta) for one in found] == [(0.3, 2.0), (0.1, 1.0)]
    assert all(one.evidence is None for one in found)


def test_a_flow_that_two_columns_share_is_with_both() -> None:
    rows = [gd(1.0, 0.7), gd(2.0, 0.6, column_id="d"), flow(), flow(epsilon=0.3)]
    found = rows_with_flows(rows)
    assert {name: [row["kind"] for row in its] for name, its in found.items()} == {
        "c": ["flow", "flow", "gd"],
        "d": ["flow", "flow", "gd"],
    }
    assert {row["column_id"] for row in found["d"]} == {"d"}


def test_the_evidence_is_of_rates_and_never_better_with_fewer_of_them() -> None:
    for (basis, loss), known in EVIDENCE.items():
        assert list(known) == sorted(known)
        for one in known.values():
            assert 0 <= one.beyond <= one.n
            assert 0 <= one.regret_median <= one.regret_high < math.inf
        medians = [one.regret_median for one in known.values()]
        assert medians == sorted(medians, reverse=True), (basis, loss)
