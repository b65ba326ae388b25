"""The learning rate that a few probes of a column speak for, and how good such rates were.

The rate is the best of those that were tried. Where none was, or none came to ε, it follows from
the flow alone. How good rates of each kind are was measured over whole grids
(``docs/predicting.md``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from orchestrator.plan.probing import Probe, best_probe, stays

Basis = Literal["probes", "largest_stable", "twice_eta_c", "eta_c"]
"""What a rate follows from; the candidate of that name in the table ``predictors``."""


@dataclass(frozen=True)
class Evidence:
    """How good rates of one basis were.

    Of ``n`` places, ``beyond`` had a rate at which GD came to ε no more. The regret is the test
    loss at the rate over the best one, less 1: its median, and ``regret_high``, which nine of ten
    places were below.
    """

    n: int
    beyond: int
    regret_median: float
    regret_high: float


EVIDENCE: Mapping[tuple[Basis, str], Mapping[int, Evidence]] = MappingProxyType(
    {
        ("probes", "mse"): {
            1: Evidence(64, 0, 0.084, 0.165),
            2: Evidence(64, 0, 0.045, 0.128),
            3: Evidence(64, 0, 0.011, 0.070),
            5: Evidence(64, 0, 0.0, 0.042),
            7: Evidence(64, 0, 0.0, 0.028),
        },
        ("probes", "ce"): {
            1: Evidence(64, 2, 0.043, 0.156),
            2: Evidence(64, 0, 0.021, 0.094),
            3: Evidence(64, 0, 0.006, 0.084),
            5: Evidence(64, 0, 0.0, 0.046),
            7: Evidence(62, 0, 0.0, 0.007),
        },
        ("largest_stable", "mse"): {1: Evidence(64, 0, 0.018, 0.184)},
        ("largest_stable", "ce"): {1: Evidence(64, 0, 0.124, 0.441)},
        ("twice_eta_c", "mse"): {0: Evidence(64, 0, 0.088, 0.170)},
        ("twice_eta_c", "ce"): {0: Evidence(64, 0, 0.053, 0.132)},
        ("eta_c", "mse"): {0: Evidence(64, 0, 0.103, 0.199)},
        ("eta_c", "ce"): {0: Evidence(64, 0, 0.074, 0.139)},
    }
)
"""By basis, loss, and the number of rates tried from which on it holds; over
configs/predicting.yaml: FCN 2 × 16 and 2 × 64, tanh and ReLU, on 100 and 300 images of mnist-mini
and digits, two seeds, two thresholds. ``benchmarks/predicting.py`` measures it again."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What the flow and the probes of a column say of its best rate at one ε.

    Attributes:
        column_id, epsilon, loss: where, and the loss of the problem.
        eta_c: 2/s_gf; None where the flow did not come to ε.
        eta: the rate; None where nothing speaks for one.
        basis: what it follows from.
        flow: the row of the flow at ε, None where it did not come there.
        stable: the rows of the probes that came to ε and may stay there, in ascending η.
        beyond: the rates of the others.
    """

    column_id: str
    epsilon: float
    loss: str
    eta_c: float | None
    eta: float | None
    basis: Basis
    flow: Mapping[str, Any] | None
    stable: tuple[Mapping[str, Any], ...]
    beyond: tuple[float, ...]

    @property
    def evidence(self) -> Evidence | None:
        """How good such rates were; None of a loss for which that was not measured."""
        known = EVIDENCE.get((self.basis, self.loss), {})
        return known.get(max((least for least in known if least <= self.tried), default=0))

    @property
    def tried(self) -> int:
        """The number of rates that were tried."""
        return len(self.stable) + len(self.beyond)

    @property
    def rates(self) -> str:
        """That number in words."""
        return "1 rate" if self.tried == 1 else f"{self.tried} rates"

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The row of the probe that is recommended; None where the rate was not tried."""
        return next((row for row in self.stable if row["eta"] == self.eta), None)

    @property
    def reason(self) -> str:
        """In words, what speaks for the rate."""
        if self.basis == "probes":
            return f"least test loss of {self.rates}"
        if self.basis == "largest_stable":
            return f"largest of {self.rates} that came to ε, without test data"
        why = f"none of {self.rates} came to ε" if self.tried else "no rate was tried"
        if self.eta is None:
            return why if self.eta_c else "the flow did not come to ε"
        return f"{'2 η_c' if self.basis == 'twice_eta_c' else 'η_c'}: {why}"


def rows_with_flows(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of ``trials`` by their column, the rows of its flow before those of GD, also where
    another column has computed it.
    """
    flows, gd = dict[str, list[Mapping[str, Any]]](), dict[str, list[Mapping[str, Any]]]()
    for row in rows:
        if row["kind"] == "flow":
            flows.setdefault(row["trial_id"], []).append(row)
        else:
            gd.setdefault(row["column_id"], []).append(row)
    found = {its[0]["column_id"]: its for its in flows.values()}
    for column_id, its in gd.items():
        flow = flows.get(its[0]["flow_id"], [])
        found[column_id] = [*({**row, "column_id": column_id} for row in flow), *its]
    return found


def recommendations(rows: Sequence[Mapping[str, Any]]) -> list[Recommendation]:
    """The recommendation of one column at each ε, in descending order.

    ``rows`` are those of its flow and of its probes in ``trials``.

    >>> flow = {"column_id": "c", "kind": "flow", "status": "reached", "epsilon": 0.1, "eta": None,
    ...         "eta_c": 0.5, "loss": "mse"}
    >>> (found,) = recommendations([flow])
    >>> found.eta, found.basis, found.evidence.regret_median
    (1.0, 'twice_eta_c', 0.088)
    """
    return [
        _recommendation([row for row in rows if row["epsilon"] == epsilon])
        for epsilon in sorted({row["epsilon"] for row in rows}, reverse=True)
    ]


def _recommendation(rows: Sequence[Mapping[str, Any]]) -> Recommendation:
    reached = [row for row in rows if row["status"] == "reached"]
    flow = next((row for row in reached if row["kind"] == "flow"), None)
    stable = [row for row in reached if row["kind"] == "gd" and stays(row["eta"], row["sharpness"])]
    stable.sort(key=lambda row: row["eta"])
    beyond = sorted(
        {row["eta"] for row in rows if row["kind"] == "gd"} - {r["eta"] for r in stable}
    )
    eta_c = None if flow is None else flow["eta_c"]
    eta, basis = _rate(stable, beyond, eta_c)
    return Recommendation(
        column_id=rows[0]["column_id"],
        epsilon=rows[0]["epsilon"],
        loss=rows[0]["loss"],
        eta_c=eta_c,
        eta=eta,
        basis=basis,
        flow=flow,
        stable=tuple(stable),
        beyond=tuple(beyond),
    )


def _rate(
    stable: Sequence[Mapping[str, Any]], beyond: Sequence[float], eta_c: float | None
) -> tuple[float | None, Basis]:
    if stable:
        losses = [math.nan if row["test_loss"] is None else row["test_loss"] for row in stable]
        probes = [Probe(row["eta"], True, loss) for row, loss in zip(stable, losses, strict=True)]
        known = any(map(math.isfinite, losses))
        return best_probe(probes).eta, "probes" if known else "largest_stable"
    if eta_c is None:
        return None, "twice_eta_c"
    smallest = min(beyond, default=math.inf)
    if 2 * eta_c < smallest:
        return 2 * eta_c, "twice_eta_c"
    return (eta_c if eta_c < smallest else None), "eta_c"
