"""The paper's claims: of each experiment the statements that it makes, and what tables say to them.

Nothing is judged here: a claim names a statement of the analysis, and reads its verdict off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.run import judged
from orchestrator.analysis.statements import FALLING, finding
from orchestrator.analysis.verdict import UNDECIDED


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, the statement that it makes, and of which columns.

    Attributes:
        sentence: what is claimed.
        statement_id: the statement of the analysis.
        holds: whether the paper says that it holds, or the contrary.
        chosen: values that fields of the columns must have.
    """

    sentence: str
    statement_id: str
    holds: bool = True
    chosen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimVerdict:
    """What the tables say to a claim; see :mod:`orchestrator.analysis.verdict`."""

    experiment: str
    claim: str
    statement_id: str
    verdict: str
    numbers: str
    n_holds: int = 0
    n_decided: int = 0


ON_THE_EDGE = Claim("above η_c the final sharpness is 2/η", "edge_above")
TRANSITION = (
    Claim("below η_c the final sharpness does not depend on η", "flat_below"),
    ON_THE_EDGE,
    Claim("the kink is at 2/s_gf", "kink"),
)
NORM_OF_FLOW = Claim("below η_c the ℓ1 norm is the flow's", "flow_norm")
ALIGNED = (Claim("below η_c the final sharpness is the flow's", "flow_sharpness"), NORM_OF_FLOW)
NORM_RISES = Claim("above η_c the ℓ1 norm grows with η", "norm_rises")
RISK = (
    Claim("the risk is least at η* = 2/S(β*)", "best_at_the_truth"),
    Claim("neither least norm nor least sharpness has the least risk", "neither_is_best"),
)
VALLEY = "the best η lies between the ends"
FADES = "along the flow S falls before the threshold"
CE, MSE = {"loss": "ce"}, {"loss": "mse"}

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "e01": (*TRANSITION, *ALIGNED, NORM_RISES),
    "e02": (NORM_OF_FLOW, NORM_RISES),
    "e03": (Claim(f"MNIST with squared error: {VALLEY}", "valley"),),
    "e04": (Claim(f"CIFAR-10 with cross-entropy: {VALLEY}", "valley"),),
    "e05": (Claim("CIFAR-10 with squared error: the best η lies at an end", "valley", False),),
    "e06": (*TRANSITION, Claim("more samples, smaller η_c", "samples")),
    **dict.fromkeys(("e07", "e08", "e09", "e10"), TRANSITION),
    "e11": (
        Claim(f"squared error: {ON_THE_EDGE.sentence}", "edge_above", chosen=MSE),
        Claim(f"cross-entropy: {ON_THE_EDGE.sentence}", "edge_above", chosen=CE),
        Claim(f"cross-entropy: {FADES}", "sharpness_fades", chosen=CE),
    ),
    "e12": (
        *TRANSITION,
        Claim("stopped at a looser threshold, the same trial has a smaller ℓ1", "stops_early"),
    ),
    "e13": (
        *TRANSITION,
        Claim("over initialisations the kink moves with 2/s_gf", "proportional"),
    ),
    "e14": (*TRANSITION, Claim("under mup s_gf does not depend on the width", "width_mup")),
    "e15": (*TRANSITION, Claim("under ntk s_gf depends on the width", "width_ntk", False)),
    "e16": tuple(
        Claim(f"above η_c the {words} is smaller than below", f"{name}_falls")
        for name, words in FALLING.items()
    ),
    "e17": (
        *ALIGNED,
        Claim("below η_c GD is apart from the flow at equal time", "apart_from_flow"),
    ),
    "e18": (*TRANSITION, *RISK),
    "e19": (ON_THE_EDGE, *RISK),
    "e20": (Claim(FADES, "sharpness_fades"),),
    "e21": (
        Claim("above η_c the ℓ1 norm of averaged weights grows with η", "midpoint_norm_rises"),
    ),
}
"""The claims of each experiment, by the beginning of the name of its sweep file."""


def verdicts(experiment: str, trials: pa.Table, measures: pa.Table) -> Iterator[ClaimVerdict]:
    """What the tables of an experiment's columns say to its claims, in the order of :data:`CLAIMS`.

    The tables have the columns that :func:`orchestrator.analysis.run.judged` needs.
    """
    known: dict[Any, Any] = {}
    for claim in CLAIMS[experiment]:
        chosen = tuple(claim.chosen.items())
        if chosen not in known:
            rows = trials
            for name, value in chosen:
                rows = rows.filter(pc.equal(rows[name], value))
            known[chosen] = judged(rows, measures)[1]
        evaluated = known[chosen][claim.statement_id]
        found = finding(claim.statement_id, evaluated, contrary=not claim.holds)
        read_off = {name: found[name] for name in ("verdict", "numbers", "n_holds", "n_decided")}
        yield ClaimVerdict(experiment, claim.sentence, claim.statement_id, **read_off)


def undecided(experiment: str, why: str) -> Iterator[ClaimVerdict]:
    """The claims of an experiment that the tables say nothing to."""
    for claim in CLAIMS[experiment]:
        yield ClaimVerdict(experiment, claim.sentence, claim.statement_id, UNDECIDED, why)
