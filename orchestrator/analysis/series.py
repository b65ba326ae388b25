"""Which runs of one column at one threshold count, for those who have no table of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.analysis.fates import accidental


def settled(
    etas: Sequence[float], sharpnesses: Sequence[float], predicted: float | None
) -> list[bool]:
    """Which of the runs that reached ε did not do so by accident.

    ``etas`` and ``sharpnesses`` are positive; ``predicted`` is η_c where the flow gives it.

    >>> settled([0.05, 0.15, 0.2, 0.3], [20.0, 13.3, 10.0, 9.0], 0.1)
    [True, True, True, False]
    """
    eta, sharpness = np.array(etas, dtype=np.float64), np.array(sharpnesses, dtype=np.float64)
    critical = np.array([np.nan if predicted is None else predicted])
    together = np.zeros(len(eta), dtype=np.int64)
    return [not one for one in accidental(eta, sharpness, critical, together, 1).tolist()]
