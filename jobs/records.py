"""What a trial leaves behind: a row per loss threshold, and a point per recorded step.

A number that was not measured, or that is not finite, is None.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from jobs.spec import Trial

Status = Literal["reached", "max_steps", "diverged", "no_start", "unsolved"]
"""How a trial met a threshold. With ``no_start`` it was not computed: its parent never reached the
state at which it was to begin; with ``unsolved`` no oscillation holds a central flow at the edge of
stability, for a ``reason``."""
PointName = Literal["end", "mid"]


OFF_THE_EDGE = 1.5
"""S·η/2 above which a crossing of GD is a chance crossing: GD leaves every minimum where S > 2/η,
and can only have passed the threshold in an oscillation (seen at 1.92). What settles at the edge of
stability has 0.95 to 1.1, and a loose threshold stops an oscillation at up to about 1.3."""


def finite(value: float) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number that was measured at a crossing besides those of its row.

    ``point`` is where: at the ``end``, the iterate of the row, or ``mid``, at the mean of the last
    two iterates of GD. ``layer`` is the parameter tensor that it is of, None for all of θ; ``rank``
    that of an eigenvalue, 1 for the largest. ``standard_error`` is that of a mean over random
    probes, and ``residual`` that of an eigenpair, relative to the operator's norm; None of a number
    that has none.
    """

    point: PointName
    measure: str
    value: float | None
    standard_error: float | None = None
    residual: float | None = None
    layer: str | None = None
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The state where the training loss first reached ``epsilon``, or at the stop if it did not.

    ``steps`` counts updates of θ; ``time`` is the flow's time: η·steps for GD, η·steps / (1 − β)
    with momentum β. Accuracies are fractions. ``sharpness_residual`` is ‖Hv − λv‖ / |λ| (‖v‖ = 1)
    at the end of the spectrum that gives the sharpness, and ``sharpness_converged`` says that it
    satisfies ``sharpness_rtol`` and that the other end cannot be larger in magnitude.
    ``lambda_min_residual`` is ‖Hv − λv‖ / |λ| at λ_min, and ``lambda_min_converged`` says that it
    satisfies ``lambda_min_rtol`` or, where that is None, ``sharpness_rtol``; or that ‖Hv − λv‖ is
    at most ``LEAST_RTOL`` of the sharpness, so that λ_min is 0 within rounding. ``sharpness_mid``
    is measured at the mean of the last two iterates of GD. ``max_sharpness`` is the largest
    sharpness measured up to here. ``hvps`` and ``gradients`` count the evaluations that the trial
    needed up to here: the products of further measures are among them, the gradients of these are
    not. ``distance_from_flow`` is ‖θ − θ_flow(time)‖₂ of GD, where it is asked for. ``measures``
    are the further ones. ``data_loss`` and ``data_sharpness`` are the training loss and the
    sharpness without weight decay, whose Hessian is that of the training loss less λ times the
    identity. ``preconditioned_sharpness`` is max |λ| of P⁻¹ᐟ² H P⁻¹ᐟ², P being the preconditioner
    of the next step: the sharpness itself, but for adaptive optimisers.

    Of a central flow ``steps`` are those of its integrator, and ``train_loss`` is the loss of GD on
    average, L(θ) + tr X/η; ``oscillation`` is tr X/η, and ``at_edge`` in how many directions GD
    oscillates. ``third_derivatives`` counts the gradients of entries of the Hessian, and ``reason``
    says why it was not solved.
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
    lambda_min_residual: float | None
    lambda_min_converged: bool | None
    sharpness_mid: float | None
    max_sharpness: float | None
    hvps: int
    gradients: int
    l1_norm: float | None
    l2_norm: float | None
    distance_from_init: float | None
    distance_from_flow: float | None
    measures: tuple[Measured, ...]
    data_loss: float | None = None
    data_sharpness: float | None = None
    preconditioned_sharpness: float | None = None
    oscillation: float | None = None
    at_edge: int | None = None
    third_derivatives: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One recorded step of a trajectory.

    ``gradient_norm`` is ‖∇L‖₂. Of GD, ``loss_rises`` counts the steps so far that ended at a larger
    loss, and ``realised_edge`` is ζ = 1 + (L(θ) − L(θ')) / (∇L(θ')ᵀ(θ' − θ)) of the last step, from
    θ': half of η times the curvature along it for GD, where that is constant; the loss rises where
    ζ > 1, of a step down the slope. None of a flow, and at θ0. ``preconditioned_sharpness``,
    ``oscillation`` and ``at_edge`` are as in :class:`Crossing`.
    """

    step: int
    time: float
    train_loss: float | None
    test_loss: float | None
    sharpness: float | None
    lambda_min: float | None
    l1_norm: float | None
    l2_norm: float | None
    gradient_norm: float | None = None
    loss_rises: int | None = None
    realised_edge: float | None = None
    preconditioned_sharpness: float | None = None
    oscillation: float | None = None
    at_edge: int | None = None


@dataclass(frozen=True)
class PointSpectrum:
    """The leading eigenvalues at a recorded step, those of largest magnitude first, with their
    residuals ‖Hv − λv‖ relative to the operator norm.
    """

    step: int
    values: tuple[float | None, ...]
    residuals: tuple[float | None, ...]


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial found: a crossing per threshold, the recorded trajectory, and the
    spectra along it, where they are asked for.

    ``init_hash`` names θ0, and the constants of a network that has any: the first 16 hex digits of
    the SHA-256 of the numbers. ``data_digest`` names the training and test samples that were read
    (:class:`jobs.datasets.Dataset`); None where nothing was computed. ``start_step`` is the step of
    its parent at which it began.
    """

    trial: Trial
    init_hash: str | None
    data_digest: str | None
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]
    spectra: tuple[PointSpectrum, ...] = ()
    start_step: int | None = None

    @property
    def init_sharpness(self) -> float | None:
        """The sharpness where the trial began; None where it could not be measured."""
        return self.trajectory[0].sharpness if self.trajectory else None

    @classmethod
    def without_start(cls, trial: Trial) -> TrialResult:
        """That of a trial whose parent never reached the state at which it was to begin."""
        nothing: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Crossing))
        counts: dict[str, Any] = {
            "steps": 0,
            "time": 0.0,
            "hvps": 0,
            "gradients": 0,
            "measures": (),
        }
        crossings = tuple(
            Crossing(**{**nothing, **counts, "epsilon": epsilon, "status": "no_start"})
            for epsilon in trial.protocol.epsilons
        )
        return cls(trial, None, None, crossings, ())
