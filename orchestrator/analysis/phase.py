"""What each column shows at each loss threshold: η_c, the two regimes around it, the best η."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from orchestrator.analysis import undecided
from orchestrator.analysis.bounds import (
    ABOVE,
    BELOW,
    FAR,
    KINK,
    LEAST_FOR_LINE,
    LEAST_FOR_RISE,
    LEAST_FOR_SPREAD,
    LEAST_RISE,
    MOST_BY_CHANCE,
    SAME_NORM,
    SIGNIFICANT,
)
from orchestrator.analysis.crossings import (
    CHANCE_CROSSING,
    EXCLUSIONS,
    INCLUDED,
    GdRows,
    Places,
    critical_rates,
)
from orchestrator.analysis.grouped import (
    CONFIDENCE,
    Codes,
    Flags,
    Numbers,
    at,
    chance_of_rise,
    extremes,
    firsts,
    flags_or_null,
    lines,
    median_intervals,
    medians,
    numbers_or_null,
    with_interval,
)
from orchestrator.analysis.kink import LEAST_FOR_KINK, STEEPEST_FLAT, fitted_kinks
from orchestrator.analysis.valleys import Valleys
from orchestrator.store import PHASE


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """A row of ``analysis/phase.parquet``; None where the trials do not suffice.

    ``eta_c`` is 2/s_gf, predicted by the flow; ``eta_c_fitted`` is where the final sharpness of GD
    bends, and ``transition`` whether it does. ``flow_sharpness`` and ``l1_flow`` are the flow's
    where it reaches ε. ``edge_exponent`` (slope of log S on log η, theory −1), ``edge_ratio``
    (median S·η/2, theory 1), ``flat_spread`` (range of S over its median), ``l1_flat`` (median of
    ‖θ‖₁ below), the line of ‖θ‖₁ on η above with ``l1_slope`` and ``l1_r2``, and whether it rises,
    with the probability ``l1_chance`` of such a rise by chance, refer to η_c, or to the fitted one
    where the flow gives none. ``_low`` and ``_high`` bound 95 % intervals. ``u_shaped`` says that
    the best test loss is a valley between the smallest and the largest η, over all seeds;
    ``u_depth`` is how far it lies below the lower end at ``u_eta``, relative to that end, and
    ``u_spread`` the scatter of that over seeds. ``undecided`` says what is not known and why. The
    counts say how many rows of GD there are and which exclusion they have: ``n_gd`` is their sum.
    """

    column_id: str
    epsilon: float
    eta_c: float | None
    eta_c_fitted: float | None
    eta_c_fitted_low: float | None
    eta_c_fitted_high: float | None
    transition: bool | None
    flow_sharpness: float | None
    edge_exponent: float | None
    edge_exponent_low: float | None
    edge_exponent_high: float | None
    edge_ratio: float | None
    edge_ratio_low: float | None
    edge_ratio_high: float | None
    flat_spread: float | None
    l1_flow: float | None
    l1_flat: float | None
    l1_slope: float | None
    l1_slope_low: float | None
    l1_slope_high: float | None
    l1_r2: float | None
    l1_rises: bool | None
    l1_chance: float | None
    test_loss_best: float | None
    eta_best: float | None
    eta_best_over_eta_c: float | None
    u_shaped: bool | None
    u_depth: float | None
    u_spread: float | None
    u_eta: float | None
    undecided: str | None
    n_gd: int
    n_diverged: int
    n_included: int
    n_short: int
    n_chance_crossing: int
    n_unconverged: int
    n_unmeasured: int


def phase_table(places: Places, gd: GdRows, valleys: Valleys) -> pa.Table:
    """A row per place, in their order, as in :data:`orchestrator.store.PHASE`."""
    n, included = len(places), gd.included()
    kinks = fitted_kinks(included.eta, included.sharpness, included.place, n)
    critical = critical_rates(places.predicted, kinks)
    own = critical[included.place]
    flat = included.chosen(included.eta < BELOW * own)
    edge = included.chosen(included.eta > ABOVE * own)
    growing = included.chosen((included.eta > own) & np.isfinite(included.l1_norm))
    reach = np.nan_to_num(extremes(edge.eta, edge.place, n)[1] / critical)
    far = gd.chosen(gd.eta > FAR * critical[gd.place])
    n_by_chance, n_included = (
        np.bincount(far.place[far.exclusion == EXCLUSIONS.index(name)], minlength=n)
        for name in (CHANCE_CROSSING, INCLUDED)
    )
    is_orderly = n_by_chance <= MOST_BY_CHANCE * np.maximum(n_by_chance + n_included, 1)
    flat_values = _flat(flat, n)
    level = np.where(np.isfinite(places.flow_l1), places.flow_l1, flat_values["l1_flat"])
    rise = growth(growing.eta, growing.l1_norm, growing.place, critical, level)
    rises = rise.pop("l1_rises")
    found: dict[str, Numbers] = {
        "eta_c": places.predicted,
        **with_interval("eta_c_fitted", kinks.eta_c, kinks.low, kinks.high),
        "flow_sharpness": places.flow_sharpness,
        "l1_flow": places.flow_l1,
        **_edge(edge, n, reach >= KINK[1], is_orderly),
        **flat_values,
        **rise,
        **_best(included, places.predicted),
        "u_depth": valleys.depth,
        "u_spread": valleys.spread,
        "u_eta": valleys.eta,
    }
    counts = {
        f"n_{name}": np.bincount(gd.place[gd.exclusion == number], minlength=n)
        for number, name in enumerate(EXCLUSIONS)
    }
    counts["n_gd"] = np.bincount(gd.place, minlength=n)
    n_flat, n_edge = (np.bincount(some.place, minlength=n) for some in (flat, edge))
    n_growing = np.bincount(growing.place, minlength=n)
    stays = _stays(edge, flat, n_edge, n_flat, places.predicted)
    asked = np.isfinite(places.predicted) & (n_flat >= 1) & (n_edge >= LEAST_FOR_KINK - 1)
    transition = np.where(asked & (reach >= KINK[1]) & stays, 0.0, np.nan)
    transition[np.isfinite(kinks.eta_c)] = 1.0
    reasons = [
        undecided.of_kink(transition, places.predicted, n_flat, n_edge, reach, counts),
        *undecided.of_regimes(critical, n_flat, n_edge, reach),
        undecided.of_rise(rises, found["l1_chance"], n_growing, critical),
        valleys.reason,
    ]
    columns: dict[str, Any] = {
        "column_id": places.keys["column_id"],
        "epsilon": places.keys["epsilon"],
        **{name: numbers_or_null(values) for name, values in found.items()},
        **{name: pa.array(values, type=pa.int64()) for name, values in counts.items()},
        "transition": flags_or_null(transition),
        "l1_rises": flags_or_null(rises),
        "u_shaped": flags_or_null(valleys.shaped),
        "undecided": pa.array(undecided.joined(reasons), type=pa.string()),
    }
    return pa.table([columns[name] for name in PHASE.names], schema=PHASE)


def _edge(edge: GdRows, n: int, is_reached: Flags, is_orderly: Flags) -> dict[str, Numbers]:
    """What S does above; the ratio only where rates reach so far that a constant S would show."""
    fall = lines(np.log(edge.eta), np.log(edge.sharpness), edge.place, n)
    ratio = edge.sharpness * edge.eta / 2
    asked = is_reached & (np.bincount(edge.place, minlength=n) >= LEAST_FOR_LINE)
    middle, low, high = (
        np.where(asked, values, np.nan)
        for values in (medians(ratio, edge.place, n), *median_intervals(ratio, edge.place, n))
    )
    # S itself tells chance crossings: where many are left out, the rest is not all there was.
    ends = (np.where(is_orderly, end, np.nan) for end in (fall.low, fall.high))
    exponent = with_interval("edge_exponent", fall.slope, *ends)
    return exponent | with_interval("edge_ratio", middle, low, high)


def _flat(flat: GdRows, n: int) -> dict[str, Numbers]:
    low, high = extremes(flat.sharpness, flat.place, n)
    spread = (high - low) / medians(flat.sharpness, flat.place, n)
    few = np.bincount(flat.place, minlength=n) < LEAST_FOR_SPREAD
    known = flat.chosen(np.isfinite(flat.l1_norm))
    return {
        "flat_spread": np.where(few, np.nan, spread),
        "l1_flat": medians(known.l1_norm, known.place, n),
    }


def growth(
    eta: Numbers, norm: Numbers, place: Codes, critical: Numbers, level: Numbers
) -> dict[str, Numbers]:
    """The line of ‖θ‖₁ on η above η_c, and ``l1_rises``: whether it rises there.

    That is 1 where ‖θ‖₁ rises by more than chance, and by LEAST_RISE over the rates; 0 where it
    falls by more than chance, or where even the steepest line of the interval rises by less than
    SAME_NORM over the rates, or over a range of η_c where they have less; else NaN.

    Args:
        eta, norm, place: of the rows above η_c, (rows,).
        critical: η_c, (places,).
        level: the ‖θ‖₁ that rises are relative to, NaN for the median of ``norm``; (places,).
    """
    n = len(critical)
    line = lines(eta, norm, place, n)
    rise, fall = (chance_of_rise(eta, values, place, n) for values in (norm, -norm))
    few = np.bincount(place, minlength=n) < LEAST_FOR_RISE
    level = np.where(np.isfinite(level), level, medians(norm, place, n))
    span = np.fmax(extremes(eta, place, n)[1] - critical, critical)
    most = line.high * span / level
    rises = np.where((fall <= SIGNIFICANT) | (most < SAME_NORM), 0.0, np.nan)
    rises[(rise <= SIGNIFICANT) & (most >= LEAST_RISE)] = 1.0
    return {
        **with_interval("l1_slope", line.slope, line.low, line.high),
        "l1_r2": line.r2,
        "l1_chance": np.where(few, np.nan, rise),
        "l1_rises": np.where(few, np.nan, rises),
    }


def _best(included: GdRows, predicted: Numbers) -> dict[str, Numbers]:
    """The least test loss of each place, and the smallest rate that has it."""
    known = included.chosen(np.isfinite(included.test_loss))
    best = firsts([known.test_loss, known.eta], known.place, len(predicted))
    loss, eta = at(known.test_loss, best), at(known.eta, best)
    return {"test_loss_best": loss, "eta_best": eta, "eta_best_over_eta_c": eta / predicted}


def _stays(edge: GdRows, flat: GdRows, n_edge: Codes, n_flat: Codes, predicted: Numbers) -> Flags:
    """Where S at the edge has not fallen from its level below, as predicted.

    It has not where log S has kept more than half of what it would have lost from its level below,
    to 2/η. That share is the slope of what was lost on what would have been, a line through the
    origin, and the upper end of its 95 % interval counts; the scatter about the line is also that
    of the level, which is a median.
    """
    n, place = len(predicted), edge.place
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.log(medians(flat.sharpness, flat.place, n)[place] / edge.sharpness)
        whole = np.log(edge.eta / predicted[place])
        square = np.bincount(place, whole**2, n)
        share = np.bincount(place, whole * lost, n) / square
        rest = np.bincount(place, (lost - share[place] * whole) ** 2, n) / (n_edge - 1)
        level = np.bincount(place, whole, n) / square
        variance = rest * (1 / square + np.pi / 2 / n_flat * level**2)
        student = stdtrit(np.maximum(n_edge - 1, 1), (1 + CONFIDENCE) / 2)
        stays: Flags = share + student * np.sqrt(variance) < -STEEPEST_FLAT
    return stays
