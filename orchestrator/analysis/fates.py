"""What became of every GD run: it settled and counts, or why it does not."""

from __future__ import annotations

import numpy as np

from jobs.accident import ACCIDENTAL_STOP
from orchestrator.analysis.across.codes import Codes, Flags, Numbers
from orchestrator.analysis.bounds import ABOVE, FAR, TOO_SHARP
from orchestrator.analysis.grouped import medians
from orchestrator.analysis.kink import Kinks, fitted_kinks

FATES = SETTLED, DIVERGED, SHORT, UNMEASURED, UNCONVERGED, CHAOTIC = (
    *("settled", "diverged", "short", "unmeasured", "unconverged", "chaotic"),
)
"""Of the reasons why a run does not count, the first that applies, in this order."""


def first_fates(
    status: np.ndarray[tuple[int], np.dtype[np.object_]],
    eta: Numbers,
    sharpness: Numbers,
    converged: Flags,
) -> Codes:
    """The place in FATES of each run by what it alone tells; all of shape (runs,)."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(eta) & (eta > 0) & np.isfinite(sharpness) & (sharpness > 0)
        accident = sharpness * eta / 2 > ACCIDENTAL_STOP
    rules = {
        DIVERGED: status == "diverged",
        SHORT: status != "reached",
        UNMEASURED: ~known,
        UNCONVERGED: ~converged,
        CHAOTIC: accident,
    }
    codes = [FATES.index(name) for name in rules]
    return np.select(list(rules.values()), codes, 0).astype(np.int64)


def accidental(
    eta: Numbers, sharpness: Numbers, predicted: Numbers, group: Codes, n_groups: int
) -> Flags:
    """Which of the runs that reached ε came to it by accident, judged by their neighbours.

    GD leaves every minimum where S·η/2 is above 1, and far above η_c may be thrown below ε there.
    A run is an accident if S·η/2 exceeds ACCIDENTAL_STOP; or if η exceeds FAR·η_c and S·η/2 exceeds
    TOO_SHARP times what is usual in its group at the edge, or TOO_SHARP where that is less than 1.
    Usual is the median over η from ABOVE·η_c to FAR·η_c, or over all above where there are none.
    η_c is ``predicted`` (groups,), or the fitted one where that is NaN. ``eta``, ``sharpness`` and
    ``group`` have shape (runs,); values are positive.
    """
    ratio = sharpness * eta / 2
    rest = np.flatnonzero(ratio <= ACCIDENTAL_STOP)
    blind = rest[np.isnan(predicted[group[rest]])]
    kinks = fitted_kinks(eta[blind], sharpness[blind], group[blind], n_groups)
    critical = critical_rates(predicted, kinks)
    edge = rest[eta[rest] > ABOVE * critical[group[rest]]]
    near = edge[eta[edge] <= FAR * critical[group[edge]]]
    found = [medians(ratio[some], group[some], n_groups) for some in (near, edge)]
    usual = np.fmax(1.0, np.where(np.isfinite(found[0]), *found))
    far: Flags = (eta > FAR * critical[group]) & (ratio > TOO_SHARP * usual[group])
    return far | (ratio > ACCIDENTAL_STOP)


def critical_rates(predicted: Numbers, fitted: Kinks) -> Numbers:
    """η_c of each group: the predicted one, and the fitted one where there is none."""
    return np.where(np.isfinite(predicted), predicted, fitted.eta_c)
