"""What the statements of the paper's claims say to tables with known answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.spec import Problem, Protocol
from orchestrator.analysis import statements
from orchestrator.analysis.claims import CLAIMS, undecided, verdicts
from orchestrator.analysis.paper_tables import EXPERIMENTS, PaperTables
from orchestrator.analysis.run import judged
from orchestrator.analysis.verdict import FAILS, HOLDS, UNDECIDED
from orchestrator.store import MEASURES, PROBLEM_FIELDS, TRIALS
from orchestrator.sweep import Column, EtaGrid, Resources

RATES = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)

Row = dict[str, Any]


@dataclass(frozen=True)
class At:
    """The rows of a column at a threshold."""

    flow: tuple[Row, ...]
    gd: tuple[Row, ...]
    measures: tuple[Row, ...] = ()


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
    key = column_of(epsilon, **problem)
    reached = {**key, "status": "reached", "sharpness_converged": True}
    flow = {
        **reached,
        "trial_id": f"{key['column_id']}-flow",
        "kind": "flow",
        "s_gf": s_gf,
        "sharpness": s_gf if flow_end is None else flow_end,
        "l1_norm": 100.0 * norm,
    }
    gd = [
        {
            **reached,
            "trial_id": f"{key['column_id']}-{number}",
            "kind": "gd",
            "eta": factor * 2 / s_gf,
            "sharpness": min(s_gf * (1 + tilt * max(0.0, 1 - factor)), kinked * s_gf / factor),
            "steps": steps,
            "l1_norm": 100.0 * norm * (norm_below if factor < 1 else 1)
            + (10 * max(0.0, factor - 1) if rises else 0.0),
            "test_loss": 1.0 + ((factor - best) ** 2 if valley else -0.1 * factor),
            "distance_from_init": 10.0,
            "distance_from_flow": apart,
        }
        for number, factor in enumerate(RATES)
    ]
    measured = [
        {**key, "trial_id": row["trial_id"], "measure": name, "point": point or "end", "value": one}
        for named, values in (measures or {}).items()
        for name, _, point in [named.partition("@")]
        for row, one in zip(gd, values, strict=True)
    ]
    return At((flow,), tuple(gd), tuple(measured))


def column_of(epsilon: float, **problem: Any) -> Row:
    """What all rows of a column at a threshold have."""
    column = Column(
        problem=Problem(**{"dataset": "digits", "n_train": 60, "width": 16, **problem}),
        protocol=Protocol(epsilons=(0.1, 0.05, 0.02)),
        etas=(EtaGrid(unit="eta_c", multiples=RATES),),
        stop_after_divergences=None,
        resources=Resources(),
    )
    fields = {name: getattr(column.problem, name) for name in PROBLEM_FIELDS}
    return {"column_id": column.column_id, "epsilon": epsilon, **fields}


def tables(*places: At) -> tuple[pa.Table, pa.Table]:
    rows = [row for at in places for row in (*at.flow, *at.gd)]
    measures = [
        {k: v for k, v in row.items() if k in MEASURES.names}
        for at in places
        for row in at.measures
    ]
    return pa.Table.from_pylist(rows, schema=TRIALS), pa.Table.from_pylist(
        measures, schema=MEASURES
    )


def finding(name: str, *places: At) -> dict[str, Any]:
    """The row of a statement about places; ``not`` before its name asks for the contrary."""
    statement_id = name.removeprefix("not ")
    found = judged(*tables(*places))[1][statement_id]
    return statements.finding(statement_id, found, contrary=name != statement_id)


def holds(name: str, *places: At) -> bool | None:
    found = finding(name, *places)
    assert found["numbers"]
    return {HOLDS: True, FAILS: False, UNDECIDED: None}[found["verdict"]]


def without_flow(**changes: Any) -> At:
    """A column whose flow reached no threshold, and that has no GD therefore."""
    (flow,) = place(**changes).flow
    unreached = dict.fromkeys(("s_gf", "sharpness", "l1_norm"))
    return At(({**flow, **unreached, "status": "max_steps"},), ())


def widths(*s_gf: float, **problem: Any) -> list[At]:
    return [place(width=16 * 2**n, s_gf=value, **problem) for n, value in enumerate(s_gf)]


def parameterized(*s_gf: float, by: str) -> list[At]:
    """Widths of 16, which is the base width, and more."""
    return widths(*s_gf, parameterization=by, base_width=16)


def samples(*s_gf: float) -> list[At]:
    return [place(n_train=60 * 2**n, s_gf=value) for n, value in enumerate(s_gf)]


def seeds(**changes: Any) -> list[At]:
    return [place(seed=seed, **changes) for seed in range(3)]


def scales(kinked: Callable[[float], float]) -> list[At]:
    """Columns that bend at this multiple of their own η_c."""
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


CASES: dict[str, tuple[list[At], list[At]]] = {
    "flat_below": ([place(tilt=0.05)], [place(tilt=0.15)]),
    "edge_above": ([place(kinked=1.1)], [place(kinked=1.4)]),
    "kink": ([place(kinked=1.2)], [place(kinked=1.4)]),
    "flow_sharpness": ([place(tilt=0.05)], [place(tilt=0.15)]),
    "norm_flat": ([place(norm_below=0.99)], [place(norm_below=0.97)]),
    "flow_norm": ([place(norm_below=0.99)], [place(norm_below=0.97)]),
    "norm_rises": ([place()], [place(rises=False)]),
    "midpoint_norm_rises": (
        measured("l1_norm@mid", rising=True),
        measured("l1_norm@mid", rising=False),
    ),
    "valley": (seeds(), seeds(valley=False)),
    "not valley": (seeds(valley=False), seeds()),
    **{
        f"{name}_falls": (measured(name, rising=False), measured(name, rising=True))
        for name in statements.FALLING
    },
    "apart_from_flow": ([place(apart=0.5)], [place(apart=0.01)]),
    "best_at_the_truth": (point(), point(s_gf=8.0)),
    "neither_is_best": (point(), point(best=RATES[-1])),
    "sharpness_fades": ([place(flow_end=5.0)], [place()]),
    "proportional": (scales(lambda s_gf: 1.0), scales(lambda s_gf: s_gf / 20)),
    "stops_early": (stops(1.0, 1.1, 1.2), stops(1.0, 1.1, 1.05)),
    "samples": (samples(20.0, 30.0), samples(20.0, 15.0)),
    "width_mup": (
        parameterized(20.0, 21.0, by="mup"),
        parameterized(20.0, 21.0, 40.0, by="mup"),
    ),
    "not width_ntk": (
        parameterized(20.0, 40.0, by="ntk"),
        parameterized(20.0, 21.0, by="ntk"),
    ),
}
"""By the name of each statement: where it is true, and where it is false."""


def test_every_claim_has_a_case() -> None:
    named = {
        ("" if claim.holds else "not ") + claim.statement_id
        for claims in CLAIMS.values()
        for claim in claims
    }
    assert named <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_every_statement_can_be_true_and_false_and_undecided(name: str) -> None:
    true, false = CASES[name]
    assert holds(name, *true) is True
    assert holds(name, *false) is False
    assert holds(name) is None
    assert holds(name, without_flow()) is None


@pytest.mark.parametrize(
    "name", ["flat_below", "norm_flat", "flow_sharpness", "flow_norm", "width_mup"]
)
def test_without_its_tolerance_nothing_is_false(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """So that the false cases are false by the tolerance, and fail where it is none."""
    tolerant = replace(statements.STATEMENTS[name], low=-1e9, high=1e9)
    monkeypatch.setitem(statements.STATEMENTS, name, tolerant)
    assert holds(name, *CASES[name][1]) is True


def test_a_transition_is_one() -> None:
    names = ("flat_below", "edge_above", "kink", "flow_norm", "norm_flat", "norm_rises", "valley")
    assert [holds(name, *seeds()) for name in names] == [True] * 7


def test_a_kink_elsewhere_is_none_that_was_predicted() -> None:
    late = place(kinked=1.4, seed=1)
    assert holds("kink", late) is False
    assert holds("edge_above", late) is False
    assert holds("edge_above", place(), late) is False  # in each column, or it does not hold


@pytest.mark.parametrize("name", ["flat_below", "edge_above", "kink", "norm_flat", "flow_norm"])
def test_the_numbers_say_how_many_columns_do_not_decide(name: str) -> None:
    _say_what_is_open(name, [place()], [without_flow(seed=seed) for seed in (1, 2, 3)])


@pytest.mark.parametrize("name", ["norm_rises", "valley", "sharpness_fades", "best_at_the_truth"])
def test_the_numbers_of_other_statements_say_so_too(name: str) -> None:
    changes = {"dataset": "point(x=[2, 1], truth=[0.5, 0.5])", "architecture": "diagonal"}
    lost = [
        without_flow(**changes, n_train=1, init_scale=scale)
        if name == "best_at_the_truth"
        else without_flow(init_scale=scale)
        for scale in (2.0, 3.0, 4.0)
    ]
    _say_what_is_open(name, CASES[name][0] if name != "norm_rises" else [place()], lost)


def _say_what_is_open(name: str, decided: list[At], lost: Iterable[At]) -> None:
    found = finding(name, *decided, *lost)
    assert (found["verdict"], found["n_holds"], found["n_decided"], found["n_undecided"]) == (
        *(HOLDS, 1, 1, 3),
    )
    assert "Right in 1 of 1 " in found["numbers"]
    assert "; 3 undecided." in found["numbers"]
    assert "undecided" not in finding(name, *decided)["numbers"]


def test_the_base_width_is_a_width_of_mup() -> None:
    """There it is the standard parameterization, and is named so."""
    at_base = place(s_gf=20.0, width=16, parameterization="mup", base_width=16)
    assert at_base.flow[0]["parameterization"] == "standard"
    wider = place(s_gf=24.0, width=32, parameterization="mup", base_width=16)
    found = finding("width_mup", at_base, wider)
    assert (found["n_holds"], found["n_decided"]) == (1, 1)
    assert found["value_median"] == pytest.approx(1.2)
    other = place(s_gf=10.0, width=16)
    assert holds("width_mup", other, wider) is False


def test_comparisons_say_how_many_columns_took_no_part() -> None:
    two = parameterized(20.0, 21.0, by="mup")
    lost = without_flow(width=64, parameterization="mup", base_width=16)
    found = finding("width_mup", *two, lost)
    assert (found["n_holds"], found["n_decided"]) == (1, 1)
    assert found["numbers"].endswith("1 of 3 values have no s_gf.")
    assert "no s_gf" not in finding("width_mup", *two)["numbers"]
    lost_too = without_flow(n_train=240), without_flow(n_train=480)
    found = finding("samples", *samples(20.0, 30.0), *lost_too)
    assert (found["n_holds"], found["n_decided"]) == (1, 1)
    assert found["numbers"].endswith("2 of 4 values have no s_gf.")
    found = finding("proportional", *scales(lambda s_gf: 1.0), lost)
    assert found["numbers"].endswith("1 undecided.")


@pytest.mark.parametrize("experiment", CLAIMS)
def test_nothing_is_undecided(experiment: str) -> None:
    found = list(verdicts(experiment, *tables()))
    assert [one.claim for one in found] == [claim.sentence for claim in CLAIMS[experiment]]
    assert {one.verdict for one in found} == {UNDECIDED}
    assert [replace(one, numbers="why") for one in found] == list(undecided(experiment, "why"))


def test_a_looser_threshold_acts_like_early_stopping_where_the_norm_grows_in_time() -> None:
    loose, tight = place(epsilon=0.1, steps=10), place(epsilon=0.05, steps=20, norm=1.1)
    assert holds("stops_early", loose, tight) is True
    shrunk = place(epsilon=0.02, steps=30, norm=1.05)
    assert holds("stops_early", loose, shrunk) is True
    assert holds("stops_early", loose, tight, shrunk) is False  # between neighbours, too
    one = [replace(at, gd=at.gd[-1:]) for at in (tight, shrunk)]  # a single trial is enough
    assert holds("stops_early", *one) is False
    at_once = place(epsilon=0.05, steps=10)  # both in one step, which says nothing
    assert holds("stops_early", loose, at_once) is None
    assert holds("stops_early", loose) is None


def test_comparisons_without_enough_to_compare_are_undecided() -> None:
    assert holds("proportional", *scales(lambda s_gf: 1.0)[:2]) is None
    assert holds("samples", *stops(1.0, 1.1)) is None
    assert holds("width_ntk", place()) is None
    assert holds("trace_falls", *measured("frobenius", rising=False)) is None
    assert holds("midpoint_norm_rises", *measured("l1_norm", rising=True)) is None
    assert holds("apart_from_flow", place()) is None
    assert holds("best_at_the_truth", place()) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("trace_falls", "a measured trace"),
        ("midpoint_norm_rises", "norms of the midpoint"),
        ("apart_from_flow", "distances from the flow"),
        ("best_at_the_truth", "a known truth β*"),
    ],
)
def test_a_statement_without_its_data_says_which_there_are_not(name: str, data: str) -> None:
    found = finding(name, place())
    assert found["numbers"] == f"The run has no columns and thresholds with {data}."
    assert (found["n_decided"], found["n_undecided"]) == (0, 0)


def test_neither_the_least_norm_nor_the_least_sharpness_need_be_best() -> None:
    assert holds("neither_is_best", place()) is True
    assert holds("neither_is_best", place(best=RATES[0])) is False  # the least norm is best
    assert holds("neither_is_best", place(best=RATES[-1])) is False  # the least sharpness is best
    few = replace(place(), gd=place().gd[:3])
    assert holds("neither_is_best", few) is None


def test_below_the_critical_rate_all_values_are_the_flow_s() -> None:
    assert holds("flow_sharpness", place()) is True
    # All of S is 20, and so it is flat, but the flow ends elsewhere.
    assert holds("flat_below", place(flow_end=18.0)) is True
    assert holds("flow_sharpness", place(flow_end=18.0)) is False
    assert holds("flow_sharpness", replace(place(), flow=())) is None


def test_a_claim_about_some_columns_asks_those() -> None:
    good, bad = place(), place(kinked=1.4, loss="ce")
    found = [one.verdict for one in verdicts("e11", *tables(good, bad))]
    assert found == [HOLDS, FAILS, FAILS]
    assert [one.verdict for one in verdicts("e11", *tables(good))] == [HOLDS, *[UNDECIDED] * 2]


@pytest.mark.parametrize("experiment", CLAIMS)
def test_every_experiment_has_a_verdict_for_each_claim(experiment: str) -> None:
    found = list(verdicts(experiment, *tables(place())))
    assert [verdict.claim for verdict in found] == [c.sentence for c in CLAIMS[experiment]]
    assert {verdict.experiment for verdict in found} == {experiment}


def test_kept_tables_are_judged_as_those_of_a_run_are(tmp_path: Path) -> None:
    trials, measures = tables(*measured("trace", rising=False), place(seed=1))
    in_both = [{"experiment": name, "n_settled": 10, "n_left": 0} for name in ("e08", "e16")]
    open_ = {"experiment": "e05", "n_settled": 3, "n_left": 7}
    column = trials["column_id"][0].as_py()
    experiments = [{**row, "column_id": column} for row in (*in_both, open_)]
    whole = PaperTables(trials, measures, pa.Table.from_pylist(experiments, schema=EXPERIMENTS))
    whole.keep(tmp_path / "kept", "2 cores")
    kept = PaperTables.kept(tmp_path / "kept")
    assert kept.machine == "2 cores"
    assert "hostname" not in kept.trials.column_names
    assert kept.trials["column_id"].unique().to_pylist() == [column]
    assert kept.measures.num_rows == len(RATES)
    found = list(kept.verdicts())
    assert found == list(whole.verdicts())
    assert {one.experiment for one in found} == set(CLAIMS)
    said = {(one.experiment, one.statement_id): (one.verdict, one.numbers) for one in found}
    assert said["e08", "kink"][0] == said["e16", "trace_falls"][0] == HOLDS
    assert said["e05", "valley"] == (UNDECIDED, "not settled: 3 of 10 trials are")
    assert said["e20", "sharpness_fades"] == (UNDECIDED, "the tables have no column of it")


BY_CHANCE = {"sharpness": 9.6, "l1_norm": 1.0, "test_loss": 1e-9}
"""The largest η, S·η/2 = 1.92: left the edge, and hit the threshold in passing."""
UNKNOWN = {"sharpness_converged": False, "l1_norm": 20.0, "distance_from_flow": 9.0, "test_loss": 0}
"""A small η whose sharpness is not known."""


@pytest.mark.parametrize(
    ("eta", "changes", "trace"), [(0.4, BY_CHANCE, 40.0), (0.04, UNKNOWN, 20.0)]
)
def test_what_does_not_count_for_the_analysis_turns_no_claim(
    eta: float, changes: dict[str, Any], trace: float
) -> None:
    """η_c is 0.1, and the risk is least at η = 0.2."""
    key = column_of(
        0.1, dataset="point(x=[2, 1], truth=[0.5, 0.5])", architecture="diagonal", n_train=1
    )
    reached = {**key, "status": "reached", "sharpness_converged": True}
    flow = {**reached, "trial_id": "flow", "kind": "flow", "s_gf": 20.0, "sharpness": 20.0}
    etas = (0.03, 0.05, 0.07, 0.085, 0.12, 0.15, 0.2, 0.3, eta)
    gd = [
        {
            **reached,
            "trial_id": f"gd-{number}",
            "kind": "gd",
            "eta": one,
            "sharpness": min(20.0, 2 / one),
            "l1_norm": 10 + max(0.0, one - 0.1),
            "test_loss": (one - 0.2) ** 2 + 0.1,
            "distance_from_init": 10.0,
            "distance_from_flow": 1e-3,
        }
        for number, one in enumerate(etas)
    ]
    gd[-1] |= changes
    measures = [
        {**key, "trial_id": row["trial_id"], "measure": name, "point": point, "value": value}
        for row in gd
        for name, point, value in (
            ("trace", "end", trace if row is gd[-1] else row["sharpness"]),
            ("l1_norm", "mid", row["l1_norm"]),
        )
    ]
    places = At(({**flow, "l1_norm": 10.0},), tuple(gd), tuple(measures))
    assert judged(*tables(places))[0]["excluded"]["trial_id"].to_pylist() == ["gd-8"]
    wanted = {
        "flow_norm": True,
        "norm_flat": True,
        "norm_rises": True,
        "midpoint_norm_rises": True,
        "trace_falls": True,
        "apart_from_flow": False,
        "best_at_the_truth": True,
    }
    assert {name: holds(name, places) for name in wanted} == wanted
