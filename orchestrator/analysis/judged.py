"""Whether single places bear statements out: 1 or 0, and NaN where a place leaves it open."""

from __future__ import annotations

import numpy as np

from orchestrator.analysis.across.codes import Numbers
from orchestrator.analysis.bounds import KINK


def kink_is_predicted(ratio: Numbers, low: Numbers, high: Numbers, transition: Numbers) -> Numbers:
    """Whether S bends at 2/s_gf, at each place.

    An interval that reaches into the bounds refutes nothing, and a sharpness that does not bend
    refutes the statement.

    Args:
        ratio: the fitted over the predicted η_c.
        low, high: its 95 % interval, NaN where there is none.
        transition: whether S bends: 1, 0, or NaN where that is open.
    """
    with np.errstate(invalid="ignore"):
        right = np.where((ratio >= KINK[0]) & (ratio <= KINK[1]), 1.0, np.nan)
        right[(np.fmax(ratio, high) < KINK[0]) | (np.fmin(ratio, low) > KINK[1])] = 0.0
    return np.where(transition == 0, 0.0, right)
