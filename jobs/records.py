"""What a trial leaves behind: a row per loss threshold, and a point per recorded step.

A number that was not measured, or that is not finite, is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["reached", "max_steps", "diverged"]


def finite(value: float) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The state where the training loss first reached ``epsilon``, or at the stop if it did not.

    ``steps`` counts updates of θ; ``time`` is η·steps, or the flow's time. Accuracies are
    fractions. ``sharpness_residual`` is the larger of the residuals at the two ends of the
    spectrum, relative to the sharpness. ``sharpness_mid`` is measured at the mean of the last two
    iterates of GD. ``max_sharpness`` is the largest sharpness measured up to here. ``hvps`` and
    ``gradients`` count the evaluations that the trial needed up to here.
    """

    epsilon: float
    status: Status
    steps: int
    time: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    sharpness: float | None
    lambda_max: float | None
    lambda_min: float | None
    sharpness_residual: float | None
    sharpness_converged: bool | None
    sharpness_mid: float | None
    max_sharpness: float | None
    hvps: int
    gradients: int
    l1_norm: float | None
    l2_norm: float | None
    distance_from_init: float | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One recorded step of a trajectory."""

    step: int
    time: float
    train_loss: float | None
    test_loss: float | None
    sharpness: float | None
    lambda_min: float | None
    l1_norm: float | None
    l2_norm: float | None
