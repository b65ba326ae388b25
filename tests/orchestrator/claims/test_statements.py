"""What the statements say to tables with known answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.trial_rows import TrialRow, phase_row

from jobs.spec import Problem, Protocol
from orchestrator.analysis.verdict import FAILS, HOLDS, UNDECIDED
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
    tilt: float = 0.0,
    norm_below: float = 1.0,
    best: float = 1.5,
    **problem: Any,
) -> At:
    """A column at a threshold whose sharpness is flat up to ``kinked`` η_c, and 2/η above.

    ``tilt`` is how much S falls from η = 0 to η_c, relative to s_gf. ``norm_below`` is the norm
    below η_c in units of the flow's, ``best`` the η of the least test loss in units of η_c.
    """
    eta_c = 2 / s_gf
    gd, gd_measured = [], []
    for number, factor in enumerate(RATES):
        eta = factor * eta_c
        row = {
            "trial_id": f"t{number}",
            "status": "reached",
            "eta": eta,
            "eta_over_eta_c": factor,
            "sharpness": min(s_gf * (1 + tilt * max(0.0, 1 - factor)), kinked * s_gf / factor),
            "steps": steps,
            "l1_norm": 100.0 * norm * (norm_below if factor < 1 else 1)
            + (10 * max(0.0, factor - 1) if rises else 0.0),
            "test_loss": 1.0 + ((factor - best) ** 2 if valley else -0.1 * factor),
            "distance_from_init": 10.0,
            "distance_from_flow": apart,
        }
        gd.append(row)
        gd_measured.append(
            TrialRow(
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
        etas=(EtaGrid(unit="eta_c", multiples=RATES),),
        stop_after_divergences=None,
        resources=Resources(),
    )
    flow = {
        "l1_norm": 100.0 * norm,
        "sharpness": s_gf if flow_end is None else flow_end,
        "max_sharpness": s_gf,
    }
    of_flow = TrialRow(status="reached", s_gf=s_gf, sharpness=s_gf, l1_norm=100.0)
    rows = [
        {"trial_id": f"t{n}", "measure": name, "point": point, "layer": None, "value": value}
        for key, values in (measures or {}).items()
        for name, _, point in [key.partition("@")]
        for n, value in enumerate(values)
    ]
    for row in rows:
        row["point"] = row["point"] or "end"
    phase = phase_row(column.column_id, epsilon, of_flow, gd_measured)
    phase = replace(phase, u_shaped=valley)  # of which one seed alone says nothing
    return At(column, phase, flow, tuple(gd), tuple(rows))


def holds(statement: Any, *places: At) -> bool | None:
    found = statement(Evidence(places))
    assert found.numbers
    return {HOLDS: True, FAILS: False, UNDECIDED: None}[found.verdict]


def numbers(statement: Any, *places: At) -> str:
    return str(statement(Evidence(places)).numbers)


def without_flow(**changes: Any) -> At:
    """A column whose flow reached no threshold, and that has no GD therefore."""
    at = place(**changes)
    phase = phase_row(at.phase.column_id, at.phase.epsilon, None, [])
    return replace(at, phase=phase, flow=None, gd=())


def widths(*s_gf: float) -> list[At]:
    return [place(width=16 * 2**n, s_gf=value) for n, value in enumerate(s_gf)]


def samples(*s_gf: float) -> list[At]:
    return [place(n_train=60 * 2**n, s_gf=value) for n, value in enumerate(s_gf)]


def scales(kinked: Callable[[float], float]) -> list[At]:
    """Columns that bend at so many of their own η_c."""
    values = enumerate((14.0, 18.0, 22.0, 28.0))
    return [place(s_gf=s_gf, kinked=kinked(s_gf), seed=seed) for seed, s_gf in values]


def stops(*norms: float) -> list[At]:
    """One column at ever smaller thresholds, with these norms."""
    epsilons = zip(norms, (0.1, 0.05, 0.02), strict=False)
    return [
        place(epsilon=epsilon, steps=n, norm=norm) for n, (norm, epsilon) in enumerate(epsilons)
    ]


def measured(name: str, *, rising: bool) -> list[At]:
    factors = [max(1.0, factor) for factor in RATES]
    values = tuple(20 * factor if rising else 20 / factor for factor in factors)
    return [place(measures={name: values})]


def point(**changes: Any) -> list[At]:
    """S(β*) = 4 Σ xᵢ² βᵢ* = 10 for x = (2, 1) and β* = (½, ½): the best η is 0.2."""
    of = {"dataset": "point(x=[2, 1], truth=[0.5, 0.5])", "architecture": "diagonal", "n_train": 1}
    return [place(**{**of, "s_gf": 2 / (0.2 / 1.5), **changes})]  # lowest loss at 1.5 η_c


CASES: dict[str, tuple[Any, list[At], list[At]]] = {
    "flat": (s.flat, [place(tilt=0.05)], [place(tilt=0.15)]),
    "edge": (s.edge, [place(kinked=1.1)], [place(kinked=1.4)]),
    "kink": (s.kink, [place(kinked=1.2)], [place(kinked=1.4)]),
    "flow_sharpness": (s.flow_sharpness, [place(tilt=0.05)], [place(tilt=0.15)]),
    "norm_flat": (s.norm_flat, [place(norm_below=0.99)], [place(norm_below=0.97)]),
    "norm_rises": (s.norm_rises, [place()], [place(rises=False)]),
    "middle_norm_rises": (
        s.middle_norm_rises,
        measured("l1_norm@mid", rising=True),
        measured("l1_norm@mid", rising=False),
    ),
    "valley": (s.valley, [place()], [place(valley=False)]),
    "no_valley": (s.no_valley, [place(valley=False)], [place()]),
    "falls_above": (
        s.falls_above("trace"),
        measured("trace", rising=False),
        measured("trace", rising=True),
    ),
    "apart_from_flow": (s.apart_from_flow, [place(apart=0.5)], [place(apart=0.01)]),
    "best_at_the_truth": (s.best_at_the_truth, point(), point(s_gf=8.0)),
    "neither_is_best": (s.neither_is_best, point(), point(best=RATES[-1])),
    "sharpness_fades": (s.sharpness_fades, [place(flow_end=5.0)], [place()]),
    "chosen": (
        s.chosen(s.edge, loss="mse"),
        [place(), place(kinked=1.4, loss="ce")],
        [place(kinked=1.4), place(loss="ce")],
    ),
    "kink_follows_prediction": (
        across.kink_follows_prediction,
        scales(lambda s_gf: 1.0),
        scales(lambda s_gf: s_gf / 20),
    ),
    "stops_early": (across.stops_early, stops(1.0, 1.1, 1.2), stops(1.0, 1.1, 1.05)),
    "more_samples_smaller_rate": (
        across.more_samples_smaller_rate,
        samples(20.0, 30.0),
        samples(20.0, 15.0),
    ),
    "same_for_all_widths": (
        across.same_for_all_widths,
        widths(20.0, 21.0),
        widths(20.0, 21.0, 40.0),
    ),
    "widths_differ": (across.widths_differ, widths(20.0, 40.0), widths(20.0, 21.0)),
}
"""By the name of each statement: where it is true, and where it is false."""


def test_every_statement_has_a_case() -> None:
    named = [
        name
        for module in (s, across)
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and name[0] != "_"
    ]
    assert sorted(named) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_every_statement_can_be_true_and_false_and_undecided(name: str) -> None:
    statement, true, false = CASES[name]
    assert holds(statement, *true) is True
    assert holds(statement, *false) is False
    assert holds(statement) is None
    assert holds(statement, without_flow()) is None


@pytest.mark.parametrize(
    ("name", "tolerance", "module"),
    [
        ("flat", "FLAT", s),
        ("flow_sharpness", "SAME_SHARPNESS", s),
        ("norm_flat", "SAME_NORM", s),
        ("same_for_all_widths", "SAME_WIDTHS", across),
    ],
)
def test_without_its_tolerance_nothing_is_false(
    monkeypatch: pytest.MonkeyPatch, name: str, tolerance: str, module: Any
) -> None:
    """So that the false cases are false by the tolerance, and fail where it is none."""
    monkeypatch.setattr(module, tolerance, 1e9)
    statement, _, false = CASES[name]
    assert holds(statement, *false) is True


def test_a_transition_is_one() -> None:
    assert [holds(one, place()) for one in (s.flat, s.edge, s.kink)] == [True] * 3
    assert [holds(one, place()) for one in (s.norm_flat, s.norm_rises, s.valley)] == [True] * 3


def test_a_kink_elsewhere_is_none_that_was_predicted() -> None:
    late = place(kinked=1.4)
    assert holds(s.kink, late) is False
    assert holds(s.edge, late) is False
    assert holds(s.edge, place(), late) is False  # in each column, or it does not hold


def test_the_numbers_say_how_many_columns_do_not_decide() -> None:
    lost = [without_flow(seed=seed) for seed in (1, 2, 3)]
    for statement in (s.flat, s.edge, s.kink, s.norm_flat, s.norm_rises, s.valley):
        assert holds(statement, place(), *lost) is True
        assert numbers(statement, place(), *lost).endswith("right in 1 of 1 (100 %), 3 undecided")
        assert numbers(statement, place()).endswith("right in 1 of 1 (100 %)")
    fades = CASES["sharpness_fades"][1]
    assert numbers(s.sharpness_fades, *fades, *lost).endswith(
        "right in 1 of 1 (100 %), 3 undecided"
    )
    assert numbers(s.best_at_the_truth, *point(), *lost).endswith(
        "right in 1 of 1 (100 %), 3 undecided"
    )


def test_the_base_width_is_a_width_of_mup() -> None:
    """There it is the standard parameterization, and is named so."""
    at_base = place(s_gf=20.0, width=16, parameterization="mup", base_width=16)
    assert at_base.column.problem.parameterization == "standard"
    wider = place(s_gf=24.0, width=32, parameterization="mup", base_width=16)
    said = numbers(across.same_for_all_widths, at_base, wider)
    assert said.endswith("widths 1.2; right in 1 of 1 (100 %)")
    other = place(s_gf=10.0, width=16)
    assert holds(across.same_for_all_widths, other, wider) is False


def test_comparisons_say_how_many_columns_took_no_part() -> None:
    lost = without_flow(width=64)
    said = numbers(across.same_for_all_widths, *widths(20.0, 21.0), lost)
    assert said.endswith("right in 1 of 1 (100 %), without 1 column")
    assert numbers(across.same_for_all_widths, *widths(20.0, 21.0)).endswith(
        "right in 1 of 1 (100 %)"
    )
    lost_too = lost, without_flow(width=32)
    said = numbers(across.more_samples_smaller_rate, *samples(20.0, 30.0), *lost_too)
    assert said.endswith("right in 1 of 1 (100 %), without 2 columns")
    places = scales(lambda s_gf: 1.0)
    assert numbers(across.kink_follows_prediction, *places, lost).endswith("1 undecided")


def test_nothing_is_undecided() -> None:
    for claims in CLAIMS.values():
        for claim in claims:
            assert holds(claim.statement) is None


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


def test_comparisons_without_enough_to_compare_are_undecided() -> None:
    assert holds(across.kink_follows_prediction, *scales(lambda s_gf: 1.0)[:2]) is None
    assert holds(across.more_samples_smaller_rate, *stops(1.0, 1.1)) is None
    assert holds(across.widths_differ, place()) is None
    assert holds(s.falls_above("trace"), *measured("frobenius", rising=False)) is None
    assert holds(s.middle_norm_rises, *measured("l1_norm", rising=True)) is None
    assert holds(s.apart_from_flow, place()) is None
    assert holds(s.best_at_the_truth, place()) is None


def test_neither_the_least_norm_nor_the_least_sharpness_need_be_best() -> None:
    assert holds(s.neither_is_best, place()) is True
    assert holds(s.neither_is_best, place(best=RATES[0])) is False  # the least norm is best
    assert holds(s.neither_is_best, place(best=RATES[-1])) is False  # the least sharpness is best
    few = replace(place(), gd=place().gd[:3])
    assert holds(s.neither_is_best, few) is None


def test_below_the_critical_rate_all_values_are_the_flow_s() -> None:
    assert holds(s.flow_sharpness, place()) is True
    # All of S is 20, and so it is flat, but the flow ends elsewhere.
    assert holds(s.flat, place(flow_end=18.0)) is True
    assert holds(s.flow_sharpness, place(flow_end=18.0)) is False
    assert holds(s.flow_sharpness, replace(place(), flow=None)) is None


def test_a_statement_about_some_columns_asks_those() -> None:
    good, bad = place(), place(kinked=1.4, loss="ce")
    assert holds(s.chosen(s.edge, loss="ce"), good, bad) is False


@pytest.mark.parametrize("experiment", sorted(CLAIMS))
def test_every_experiment_has_a_verdict_for_each_claim(experiment: str) -> None:
    verdicts = list(judge(experiment, Evidence((place(),))))
    assert [verdict.claim for verdict in verdicts] == [c.sentence for c in CLAIMS[experiment]]
    assert {verdict.experiment for verdict in verdicts} == {experiment}
