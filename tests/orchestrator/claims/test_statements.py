"""What the statements say to tables with known answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.spec import Problem, Protocol
from orchestrator.analysis.phase import Measured, phase_row
from orchestrator.claims import CLAIMS, Evidence, across, judge
from orchestrator.claims import statements as s
from orchestrator.claims.evidence import At
from orchestrator.sweep import Column, EtaGrid, Resources

RATES = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)


def place(
    *,
    s_gf: float = 20.0,
    epsilon: float = 0.1,
    kinked: float = 1.0,
    rises: bool = True,
    valley: bool = True,
    measures: dict[str, tuple[float, ...]] | None = None,
    apart: float | None = None,
    flow_end: float | None = None,
    steps: int = 10,
    norm: float = 1.0,
    **problem: Any,
) -> At:
    """A column at a threshold whose sharpness is flat up to ``kinked`` η_c, and 2/η above."""
    eta_c = 2 / s_gf
    gd, gd_measured = [], []
    for number, factor in enumerate(RATES):
        eta = factor * eta_c
        row = {
            "trial_id": f"t{number}",
            "status": "reached",
            "eta": eta,
            "eta_over_eta_c": factor,
            "sharpness": min(s_gf, kinked * s_gf / factor),
            "steps": steps,
            "l1_norm": 100.0 * norm + (10 * max(0.0, factor - 1) if rises else 0.0),
            "test_loss": 1.0 + ((factor - 1.5) ** 2 if valley else -0.1 * factor),
            "distance_from_init": 10.0,
            "distance_from_flow": apart,
        }
        gd.append(row)
        gd_measured.append(
            Measured(
                status="reached",
                eta=eta,
                sharpness=row["sharpness"],
                sharpness_converged=True,
                l1_norm=row["l1_norm"],
                test_loss=row["test_loss"],
            )
        )
    problem = {"dataset": "digits", "n_train": 60, "width": 16, **problem}
    column = Column(
        problem=Problem(**problem),
        protocol=Protocol(epsilons=(0.1, 0.05, 0.02)),
        etas=(EtaGrid(unit="eta_c", rates=RATES),),
        stop_after_divergences=None,
        resources=Resources(),
    )
    flow = {
        "l1_norm": 100.0 * norm,
        "sharpness": s_gf if flow_end is None else flow_end,
        "max_sharpness": s_gf,
    }
    of_flow = Measured(status="reached", s_gf=s_gf, sharpness=s_gf, l1_norm=100.0)
    rows = [
        {"trial_id": f"t{n}", "measure": name, "point": point, "layer": None, "value": value}
        for key, values in (measures or {}).items()
        for name, _, point in [key.partition("@")]
        for n, value in enumerate(values)
    ]
    for row in rows:
        row["point"] = row["point"] or "end"
    phase = phase_row(column.column_id, epsilon, of_flow, gd_measured)
    return At(column, phase, flow, tuple(gd), tuple(rows))


def holds(statement: Any, *places: At) -> bool | None:
    found = statement(Evidence(places))
    assert found.numbers
    return bool(found.holds) if found.holds is not None else None


def test_a_transition_is_one() -> None:
    assert [holds(one, place()) for one in (s.flat, s.edge, s.kink)] == [True] * 3
    assert [holds(one, place()) for one in (s.norm_flat, s.norm_rises, s.valley)] == [True] * 3


def test_a_kink_elsewhere_is_none_that_was_predicted() -> None:
    late = place(kinked=1.4)
    assert holds(s.kink, late) is False
    assert holds(s.edge, late) is False
    assert holds(s.edge, place(), late) is False  # in each column, or it does not hold


def test_a_norm_that_stays_does_not_rise_and_a_loss_that_falls_has_no_valley() -> None:
    plain = place(rises=False, valley=False)
    assert holds(s.norm_rises, plain) is False
    assert holds(s.valley, plain) is False
    assert holds(s.no_valley, plain) is True


def numbers(statement: Any, *places: At) -> str:
    return str(statement(Evidence(places)).numbers)


def without_flow(**changes: Any) -> At:
    """A column whose flow reached no threshold, and that has no GD therefore."""
    at = place(**changes)
    phase = phase_row(at.phase.column_id, at.phase.epsilon, None, [])
    return replace(at, phase=phase, flow=None, gd=())


def test_the_numbers_say_how_many_columns_do_not_decide() -> None:
    lost = [without_flow(seed=seed) for seed in (1, 2, 3)]
    for statement in (s.flat, s.edge, s.kink, s.norm_flat, s.norm_rises, s.valley):
        assert holds(statement, place(), *lost) is True
        assert numbers(statement, place(), *lost).endswith("right in 1 of 1, 3 undecided")
        assert numbers(statement, place()).endswith("right in 1 of 1")
    fades = place(flow_end=5.0)
    assert numbers(s.sharpness_fades, fades, *lost).endswith("right in 1 of 1, 3 undecided")
    point = {"dataset": "point(x=[2, 1], truth=[0.5, 0.5])", "architecture": "diagonal"}
    best = place(s_gf=2 / (0.2 / 1.5), n_train=1, **point)
    assert numbers(s.best_at_the_truth, best, *lost).endswith("right in 1 of 1, 3 undecided")


def test_comparisons_say_how_many_columns_took_no_part() -> None:
    lost = without_flow(width=64)
    widths = place(), place(width=32, s_gf=21.0)
    said = numbers(across.same_for_all_widths, *widths, lost)
    assert said.endswith("right in 1 of 1, without 1 column")
    assert numbers(across.same_for_all_widths, *widths).endswith("right in 1 of 1")
    samples = place(), place(n_train=100, s_gf=30.0)
    said = numbers(across.more_samples_smaller_rate, *samples, lost, without_flow(width=32))
    assert said.endswith("right in 1 of 1, without 2 columns")
    places = [place(s_gf=g, seed=n) for n, g in enumerate((10.0, 20.0, 40.0, 80.0))]
    assert numbers(across.kink_follows_prediction, *places, lost).endswith("1 undecided")


def test_nothing_is_undecided() -> None:
    for claims in CLAIMS.values():
        for claim in claims:
            assert holds(claim.statement) is None


def test_the_kink_moves_with_its_prediction() -> None:
    places = [place(s_gf=g, seed=n) for n, g in enumerate((10.0, 20.0, 40.0, 80.0))]
    assert holds(across.kink_follows_prediction, *places) is True
    assert holds(across.kink_follows_prediction, *places[:2]) is None
    stuck = [place(s_gf=g, kinked=g / 20, seed=n) for n, g in enumerate((14.0, 18.0, 22.0, 28.0))]
    assert holds(across.kink_follows_prediction, *stuck) is False


def test_a_looser_threshold_acts_like_early_stopping_where_the_norm_grows_in_time() -> None:
    loose, tight = place(epsilon=0.1, steps=10), place(epsilon=0.05, steps=20, norm=1.1)
    assert holds(across.stops_early, loose, tight) is True
    shrunk = place(epsilon=0.02, steps=30, norm=1.05)
    assert holds(across.stops_early, loose, shrunk) is True
    assert holds(across.stops_early, loose, tight, shrunk) is False  # between neighbours, too
    one = [replace(at, gd=at.gd[-1:]) for at in (tight, shrunk)]  # a single run is enough
    assert holds(across.stops_early, *one) is False
    at_once = place(epsilon=0.05, steps=10)  # both in one step, which says nothing
    assert holds(across.stops_early, loose, at_once) is None
    assert holds(across.stops_early, loose) is None


def test_thresholds_samples_and_widths() -> None:
    falling = place(epsilon=0.1, s_gf=10.0), place(epsilon=0.05, s_gf=20.0)
    assert holds(across.more_samples_smaller_rate, place(), place(n_train=100, s_gf=30.0)) is True
    assert holds(across.more_samples_smaller_rate, place(), place(n_train=100, s_gf=15.0)) is False
    assert holds(across.more_samples_smaller_rate, *falling) is None
    widths = place(), place(width=32, s_gf=21.0)
    assert holds(across.same_for_all_widths, *widths) is True
    assert holds(across.widths_differ, *widths) is False
    assert holds(across.same_for_all_widths, *widths, place(width=64, s_gf=40.0)) is False


def test_further_measures_above_and_below() -> None:
    falls = tuple(20 / max(1.0, factor) for factor in RATES)
    rises = tuple(20 * max(1.0, factor) for factor in RATES)
    assert holds(s.falls_above("trace"), place(measures={"trace": falls})) is True
    assert holds(s.falls_above("trace"), place(measures={"trace": rises})) is False
    assert holds(s.falls_above("trace"), place(measures={"frobenius": falls})) is None
    assert holds(s.middle_norm_rises, place(measures={"l1_norm@mid": rises})) is True
    assert holds(s.middle_norm_rises, place(measures={"l1_norm": rises})) is None


def test_the_distance_from_the_flow_and_a_sharpness_that_fades() -> None:
    assert holds(s.apart_from_flow, place(apart=0.5)) is True
    assert holds(s.apart_from_flow, place(apart=0.01)) is False
    assert holds(s.apart_from_flow, place()) is None
    assert holds(s.sharpness_fades, place(flow_end=5.0)) is True
    assert holds(s.sharpness_fades, place()) is False


def test_the_best_rate_of_a_diagonal_network_is_that_of_the_truth() -> None:
    """S(β*) = 4 Σ xᵢ² βᵢ* = 10 for x = (2, 1) and β* = (½, ½): the best η is 0.2."""
    point = {"dataset": "point(x=[2, 1], truth=[0.5, 0.5])", "architecture": "diagonal"}
    best = place(s_gf=2 / (0.2 / 1.5), n_train=1, **point)  # lowest loss at 1.5 η_c
    assert holds(s.best_at_the_truth, best) is True
    assert holds(s.best_at_the_truth, place(s_gf=8.0, n_train=1, **point)) is False
    assert holds(s.best_at_the_truth, place()) is None


def test_a_statement_about_some_columns_asks_those() -> None:
    good, bad = place(), place(kinked=1.4, loss="ce")
    assert holds(s.chosen(s.edge, loss="mse"), good, bad) is True
    assert holds(s.chosen(s.edge, loss="ce"), good, bad) is False


@pytest.mark.parametrize("experiment", sorted(CLAIMS))
def test_every_experiment_has_a_verdict_for_each_claim(experiment: str) -> None:
    verdicts = list(judge(experiment, Evidence((place(),))))
    assert [verdict.claim for verdict in verdicts] == [c.sentence for c in CLAIMS[experiment]]
    assert {verdict.experiment for verdict in verdicts} == {experiment}
