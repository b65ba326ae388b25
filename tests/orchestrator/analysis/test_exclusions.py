"""Chance crossings are left out; oscillations at the edge are not."""

import numpy as np
import pytest
from support.trial_rows import TrialRow, phase_row

from jobs.diagonal import sweep_plane
from orchestrator.analysis import analyze, exclusions_of
from orchestrator.store import Store

ETA_C = 0.1
EDGE = (0.12, 0.14, 0.17, 0.2)


def settled(etas, sharpnesses, predicted: float | None) -> list[bool]:
    """Which runs of one place that reached ε count; ``predicted`` is η_c by the flow."""
    reached = {"column_id": "c", "epsilon": 0.1, "status": "reached", "sharpness_converged": True}
    rows = [
        {**reached, "kind": "gd", "eta": eta, "sharpness": sharpness}
        for eta, sharpness in zip(etas, sharpnesses, strict=True)
    ]
    s_gf = 2 / predicted if predicted else None
    flow = {**reached, "kind": "flow", "s_gf": s_gf, "sharpness": s_gf}
    exclusions = exclusions_of([*rows, flow] if predicted else rows)
    assert exclusions[len(rows) :] == [None] * bool(predicted)
    return [exclusion == "included" for exclusion in exclusions[: len(rows)]]


def ratios(*of_far: float, typical: float = 1.0) -> list[bool]:
    """Which runs far above η_c count, given S·η/2 of them and that of the typical edge."""
    eta = [0.05, 0.08, *EDGE, *np.linspace(0.21, 0.3, len(of_far))]
    sharpness = [20.0, 20.0, *(2 * typical / one for one in EDGE)]
    sharpness += [2 * ratio / one for ratio, one in zip(of_far, eta[6:], strict=True)]
    found = settled(eta, sharpness, ETA_C)
    assert all(found[:6])
    return found[6:]


def test_far_above_the_rest_of_the_edge_is_by_chance() -> None:
    assert ratios(1.0, 1.29, 1.31, 1.6) == [True, True, False, False]


def test_the_rest_of_the_edge_counts_as_one_where_it_is_less() -> None:
    assert ratios(1.2, 1.31, typical=0.9) == [True, False]


def test_a_loose_threshold_stops_all_of_the_edge_above_it() -> None:
    assert ratios(1.31, 1.49, typical=1.2) == [True, True]
    assert ratios(1.51, typical=1.2) == [False]


def test_near_eta_c_only_what_no_threshold_explains_is_by_chance() -> None:
    assert settled([0.05, 0.12, 0.13], [20.0, 1.4 * 2 / 0.12, 1.51 * 2 / 0.13], ETA_C) == [
        *(True, True, False)
    ]


def test_chance_crossings_are_not_typical_because_they_are_many() -> None:
    assert ratios(*[1.45] * 9) == [False] * 9


def test_without_a_prediction_far_is_meant_of_the_fitted_rate() -> None:
    eta = [0.03, 0.05, 0.08, *EDGE, 0.3]
    sharpness = [2 / max(one, ETA_C) for one in eta[:-1]]
    assert settled(eta, [*sharpness, 1.4 * 2 / 0.3], None) == [*[True] * 7, False]


def test_no_row_has_no_exclusion() -> None:
    assert settled([], [], None) == []


def test_the_table_names_who_is_left_out_and_the_counts_are_theirs(run) -> None:
    ok = {"status": "reached", "sharpness_converged": True}
    rows = {
        "included": TrialRow(eta=0.05, sharpness=20.0, **ok),
        "diverged": TrialRow(status="diverged", eta=0.5),
        "short": TrialRow(status="max_steps", eta=0.01, sharpness=20.0),
        "unmeasured": TrialRow(eta=0.06, **ok),
        "unconverged": TrialRow(status="reached", eta=0.07, sharpness=20.0),
        "chance_crossing": TrialRow(eta=0.4, sharpness=1.9 * 2 / 0.4, **ok),
    }
    for name, row in rows.items():
        run.trial("c", "gd", {0.1: row}, trial_id=name)
    analysis = analyze(run.path)
    found = {row["trial_id"]: row["why"] for row in analysis.tables["excluded"].to_pylist()}
    assert found == {name: name for name in rows if name != "included"}
    assert set(analysis.tables["excluded"]["epsilon"].to_pylist()) == {0.1}
    rows_of_trials = Store(run.path).rows("trials")
    exclusions = exclusions_of(rows_of_trials)
    assert exclusions == [row["trial_id"] for row in rows_of_trials]
    (phase,) = analysis.phases
    assert {getattr(phase, f"n_{name}") for name in rows} == {1}
    assert phase.n_gd == len(rows)


@pytest.fixture(scope="module")
def diagonal():
    """Two weights in closed form, x = (2, 1), y = 1.5, up to twice η_c at a tight threshold."""
    rates = np.linspace(0.3, 2.0, 240) * sweep_plane(rates=[0.01]).critical_rate
    return sweep_plane(rates=rates, epsilon=1e-6)


def test_of_a_diagonal_network_the_stable_runs_count_and_the_chance_crossings_do_not(
    diagonal,
) -> None:
    """What is stable follows from GD that goes on, which the analysis never sees."""
    reached = diagonal.runs.reached()
    eta, sharpness = diagonal.runs.learning_rates[reached], diagonal.runs.sharpness[reached]
    counted = np.array(settled(eta.tolist(), sharpness.tolist(), diagonal.critical_rate))
    stable = diagonal.stable[reached]
    assert (~stable).sum() > 5
    assert counted[stable].all()
    by_chance = ~stable & (diagonal.runs.edge_ratio[reached] > 1.3)
    assert not counted[by_chance].any()


def test_the_transition_of_a_diagonal_network_is_at_its_closed_form(diagonal) -> None:
    """GD leaves the edge of S = 2/η a little before 2/S_GF, as S rounds off there."""
    runs = diagonal.runs
    measured = [
        TrialRow(
            status=str(status), eta=float(eta), sharpness=float(s), sharpness_converged=True,
            l1_norm=float(norm),
        )
        for status, eta, s, norm in zip(
            runs.status, runs.learning_rates, runs.sharpness, runs.l1_norm, strict=True
        )
    ]  # fmt: skip
    s_gf = 2 / diagonal.critical_rate
    row = phase_row("c", 1e-6, TrialRow(status="reached", s_gf=s_gf, sharpness=s_gf), measured)
    assert row.transition is True
    assert row.eta_c_fitted == pytest.approx(diagonal.critical_rate, rel=0.03)
    assert row.eta_c_fitted_low < row.eta_c_fitted < row.eta_c_fitted_high
    assert row.edge_ratio == pytest.approx(1, abs=0.03)
    assert row.edge_exponent == pytest.approx(-1, abs=0.1)
    assert row.l1_rises is True
    assert row.n_chance_crossing > 5
