"""Which statements each experiment of the paper makes, and what the tables say to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.claims import across
from orchestrator.claims import statements as s
from orchestrator.claims.evidence import Evidence
from orchestrator.claims.finding import Finding


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, in a sentence, and how the tables are asked about it."""

    sentence: str
    statement: Callable[[Evidence], Finding]


@dataclass(frozen=True)
class Verdict:
    """What the tables say to a claim; see :mod:`orchestrator.analysis.verdict`."""

    experiment: str
    claim: str
    verdict: str
    numbers: str


TRANSITION = (
    Claim("below η_c the final sharpness does not depend on η", s.flat),
    Claim("above η_c the final sharpness is 2/η", s.edge),
    Claim("the kink is at 2/s_gf", s.kink),
)

ALIGNED = (
    Claim("below η_c the final sharpness is the flow's", s.flow_sharpness),
    Claim("below η_c the ℓ1 norm is the flow's", s.norm_flat),
)

NORM_RISES = Claim("above η_c the ℓ1 norm grows with η", s.norm_rises)

BEST_AT_THE_TRUTH = Claim("the risk is least at η* = 2/S(β*)", s.best_at_the_truth)

NEITHER_IS_BEST = Claim(
    "neither least norm nor least sharpness has the least risk", s.neither_is_best
)

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "e01": (*TRANSITION, *ALIGNED, NORM_RISES),
    "e02": (
        Claim("below η_c the ℓ1 norm is the flow's", s.norm_flat),
        NORM_RISES,
    ),
    "e03": (Claim("MNIST with squared error: the best η lies between the ends", s.valley),),
    "e04": (Claim("CIFAR-10 with cross-entropy: the best η lies between the ends", s.valley),),
    "e05": (Claim("CIFAR-10 with squared error: the best η lies at an end", s.no_valley),),
    "e06": (
        *TRANSITION,
        Claim("more samples, smaller η_c", across.more_samples_smaller_rate),
    ),
    "e07": TRANSITION,
    "e08": TRANSITION,
    "e09": TRANSITION,
    "e10": TRANSITION,
    "e11": (
        Claim("squared error: above η_c the final sharpness is 2/η", s.chosen(s.edge, loss="mse")),
        Claim("cross-entropy: above η_c the final sharpness is 2/η", s.chosen(s.edge, loss="ce")),
        Claim(
            "cross-entropy: along the flow S falls before the threshold",
            s.chosen(s.sharpness_fades, loss="ce"),
        ),
    ),
    "e12": (
        *TRANSITION,
        Claim("stopped at a looser threshold, the same run has a smaller ℓ1", across.stops_early),
    ),
    "e13": (
        *TRANSITION,
        Claim("over initialisations the kink moves with 2/s_gf", across.kink_follows_prediction),
    ),
    "e14": (
        *TRANSITION,
        Claim("under mup s_gf does not depend on the width", across.same_for_all_widths),
    ),
    "e15": (
        *TRANSITION,
        Claim("under ntk s_gf depends on the width", across.widths_differ),
    ),
    "e16": tuple(
        Claim(f"above η_c the {name.replace('_', ' ')} is smaller than below", s.falls_above(name))
        for name in ("trace", "frobenius", "adaptive_sharpness", "average_sharpness")
    ),
    "e17": (
        *ALIGNED,
        Claim("below η_c GD is apart from the flow at equal time", s.apart_from_flow),
    ),
    "e18": (
        *TRANSITION,
        BEST_AT_THE_TRUTH,
        NEITHER_IS_BEST,
    ),
    "e19": (
        Claim("above η_c the final sharpness is 2/η", s.edge),
        BEST_AT_THE_TRUTH,
        NEITHER_IS_BEST,
    ),
    "e20": (Claim("along the flow S falls before the threshold", s.sharpness_fades),),
    "e21": (Claim("above η_c the ℓ1 norm of averaged weights grows with η", s.middle_norm_rises),),
}
"""The claims of each experiment, by the beginning of the name of its sweep file."""


def judge(experiment: str, evidence: Evidence) -> Iterator[Verdict]:
    """What the evidence says to each claim of an experiment, in the order of :data:`CLAIMS`."""
    for claim in CLAIMS[experiment]:
        found = claim.statement(evidence)
        yield Verdict(experiment, claim.sentence, found.verdict, found.numbers)
