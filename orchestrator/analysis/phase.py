"""What one column shows at one loss threshold: η_c, the two regimes around it, and the best η."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeGuard

from jobs.diagonal.sweep import ACCIDENTAL_STOP
from orchestrator.analysis.kink import fitted_kink
from orchestrator.analysis.line import Line, line_through

BELOW, ABOVE = 0.9, 1.1
"""In units of η_c: the flat regime ends here, and the edge begins; between them the kink is round
and GD slowest."""

DEEP_ENOUGH = 0.01
"""How far, relative to itself, the best test loss must lie below both ends to be a valley: less
is within what the exact step of the stop moves it. Whether it stands out from the scatter of
several seeds is another question."""

LEAST_FOR_LINE = 3
LEAST_FOR_SPREAD = 2
LEAST_FOR_VALLEY = 4


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the analysis reads of a row of ``trials``; None where it was not measured."""

    status: str
    eta: float | None = None
    s_gf: float | None = None
    sharpness: float | None = None
    sharpness_converged: bool | None = None
    l1_norm: float | None = None
    test_loss: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Measured:
        """What a row of ``trials`` says, whatever else it has."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """A row of ``analysis/phase.parquet``; None where the trials do not suffice.

    ``eta_c`` is 2/s_gf, predicted by the flow; ``eta_c_fitted`` is where the final sharpness of GD
    bends. ``flow_sharpness`` and ``l1_flow`` are the flow's where it reaches ε. ``edge_exponent``
    (slope of log S on log η, theory −1), ``edge_ratio`` (median S·η/2, theory 1), ``flat_spread``
    (range of S over its median) and the line of ‖θ‖₁ on η with ``l1_slope`` and ``l1_r2`` refer to
    η_c, or to the fitted one where the flow gives none. ``u_shaped`` says that the best test loss
    is a valley between the smallest and the largest η. ``n_gd`` and ``n_diverged`` count all GD.
    """

    column_id: str
    epsilon: float
    eta_c: float | None
    eta_c_fitted: float | None
    flow_sharpness: float | None
    edge_exponent: float | None
    edge_ratio: float | None
    flat_spread: float | None
    l1_flow: float | None
    l1_slope: float | None
    l1_r2: float | None
    test_loss_best: float | None
    eta_best: float | None
    eta_best_over_eta_c: float | None
    u_shaped: bool | None
    n_gd: int
    n_diverged: int


@dataclass(frozen=True)
class _Settled:
    """A GD run that counts: it reached ε, and its sharpness is known and no accident."""

    eta: float
    sharpness: float
    l1_norm: float | None
    test_loss: float | None

    @property
    def ratio(self) -> float:
        """S·η/2, which is 1 at the edge of stability."""
        return self.sharpness * self.eta / 2


def phase_row(
    column_id: str, epsilon: float, flow: Measured | None, gd: Sequence[Measured]
) -> PhaseRow:
    """The row of one column at one threshold, from its flow there and all its GD there."""
    if flow is not None and flow.status != "reached":
        flow = None
    eta_c = 2 / flow.s_gf if flow is not None and _is_positive(flow.s_gf) else None
    settled = _settled(gd)
    fitted = fitted_kink([run.eta for run in settled], [run.sharpness for run in settled])
    critical = eta_c if eta_c is not None else fitted
    edge = [run for run in settled if critical is not None and run.eta > ABOVE * critical]
    flat = [run for run in settled if critical is not None and run.eta < BELOW * critical]
    fall = _line([(math.log(run.eta), math.log(run.sharpness)) for run in edge])
    growth = _line(
        [
            (run.eta, run.l1_norm)
            for run in settled
            if critical is not None and run.eta > critical and run.l1_norm is not None
        ]
    )
    valley = [(run.test_loss, run.eta) for run in settled if run.test_loss is not None]
    loss_best, eta_best = min(valley, default=(None, None))
    return PhaseRow(
        column_id=column_id,
        epsilon=epsilon,
        eta_c=eta_c,
        eta_c_fitted=fitted,
        flow_sharpness=None if flow is None else flow.sharpness,
        edge_exponent=None if fall is None else fall.slope,
        edge_ratio=_edge_ratio(edge),
        flat_spread=_relative_range([run.sharpness for run in flat]),
        l1_flow=None if flow is None else flow.l1_norm,
        l1_slope=None if growth is None else growth.slope,
        l1_r2=None if growth is None else growth.r2,
        test_loss_best=loss_best,
        eta_best=eta_best,
        eta_best_over_eta_c=eta_best / eta_c if eta_best is not None and eta_c else None,
        u_shaped=_is_valley([loss for loss, _ in valley]),
        n_gd=len(gd),
        n_diverged=sum(run.status == "diverged" for run in gd),
    )


def counts(run: Measured) -> bool:
    """Whether a GD run counts: it reached ε, and its sharpness is known and no accident."""
    return _if_settled(run) is not None


def _settled(gd: Sequence[Measured]) -> list[_Settled]:
    """The runs that count, in ascending order of η."""
    runs = [one for run in gd if (one := _if_settled(run)) is not None]
    return sorted(runs, key=lambda run: run.eta)


def _if_settled(run: Measured) -> _Settled | None:
    if run.status != "reached" or not run.sharpness_converged:
        return None
    if not (_is_positive(run.eta) and _is_positive(run.sharpness)):
        return None
    settled = _Settled(run.eta, run.sharpness, run.l1_norm, run.test_loss)
    return settled if settled.ratio <= ACCIDENTAL_STOP else None


def _is_positive(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value) and value > 0


def _line(points: Sequence[tuple[float, float]]) -> Line | None:
    if len(points) < LEAST_FOR_LINE:
        return None
    return line_through([x for x, _ in points], [y for _, y in points])


def _edge_ratio(edge: Sequence[_Settled]) -> float | None:
    if len(edge) < LEAST_FOR_LINE:
        return None
    return statistics.median(run.ratio for run in edge)


def _relative_range(values: Sequence[float]) -> float | None:
    if len(values) < LEAST_FOR_SPREAD:
        return None
    return (max(values) - min(values)) / statistics.median(values)


def _is_valley(losses: Sequence[float]) -> bool | None:
    """Whether losses in ascending order of η fall and rise again."""
    if len(losses) < LEAST_FOR_VALLEY:
        return None
    return min(losses) * (1 + DEEP_ENOUGH) < min(losses[0], losses[-1])
