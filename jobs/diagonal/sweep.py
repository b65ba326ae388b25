"""GD on a diagonal linear network at thousands of learning rates at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jobs.diagonal.loss import Array, TrainingLoss, finite
from jobs.diagonal.manifold import l1_norm, l2_norm, risk

DIVERGENCE_FACTOR = 1e3
"""Times its initial loss, above which the loss of a run has diverged, as one that is not finite."""


@dataclass(frozen=True, eq=False)
class Descents:
    """How GD ended at each of m learning rates, in the order in which they were given.

    ``status`` is ``reached`` where the loss came to ε, ``diverged``, or ``max_steps``; the other
    arrays describe the last iterate. Of a run that diverged, ``sharpness`` may not be a number.

    Well above η_c GD is chaotic, and a run may reach ε by a chance crossing, at a point that is not
    stable (S·η/2 far above 1): ``reached`` does not say that GD would have stayed there.
    """

    learning_rates: Array
    """η, of shape (m,)."""
    status: NDArray[np.str_]
    steps: NDArray[np.int64]
    losses: Array
    weights: Array
    """w, of shape (m, d)."""
    predictors: Array
    """β, of shape (m, d)."""
    sharpness: Array
    """max|λ| of the Hessian."""
    l1_norm: Array
    """‖w‖₁."""
    l2_norm: Array
    """‖w‖₂."""

    @property
    def edge_ratio(self) -> Array:
        """S·η/2, which is 1 at the edge of stability."""
        return self.sharpness * self.learning_rates / 2

    def reached(self) -> NDArray[np.bool_]:
        """Which runs came to ε."""
        return np.asarray(self.status == "reached")

    def risk(
        self, truth: ArrayLike, mean: ArrayLike | None = None, covariance: ArrayLike | None = None
    ) -> Array:
        """R(β) of each run; see :func:`jobs.diagonal.manifold.risk`."""
        return risk(self.predictors, truth, mean, covariance)


def descend(
    loss: TrainingLoss,
    start: ArrayLike,
    learning_rates: ArrayLike,
    *,
    epsilon: float = 1e-12,
    max_steps: int = 10_000,
) -> Descents:
    """GD w ← w − η∇L(w) from one start, at each η until L ≤ ε, all runs as one computation.

    A run leaves the computation when it ends. The numbers of a run do not depend on the others:
    they have the bits that it has alone.

    Args:
        loss: L.
        start: w(0), of shape (d,).
        learning_rates: η, of shape (m,).
        epsilon: the loss threshold ε.
        max_steps: the most steps of a run.

    Raises:
        ValueError: an argument is not as said, or a learning rate or ε is not positive.
    """
    first, rates = finite("start", start, 1), finite("learning_rates", learning_rates, 1)
    if len(first) != loss.dimension:
        raise ValueError(f"start has shape {first.shape}; it must be ({loss.dimension},)")
    if not np.all(rates > 0):
        raise ValueError(f"learning_rates are {rates.tolist()}; they must be positive")
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; it must be positive")
    if max_steps < 0:
        raise ValueError(f"max_steps is {max_steps}; it must not be negative")
    status = np.full(len(rates), "max_steps")
    steps, losses = np.zeros(len(rates), dtype=np.int64), np.empty(len(rates))
    weights = np.empty((len(rates), len(first)))
    with np.errstate(over="ignore", invalid="ignore"):
        limit = DIVERGENCE_FACTOR * float(loss(first))
        runs, eta, w = np.arange(len(rates)), rates, np.repeat(first[None], len(rates), axis=0)
        for step in range(max_steps + 1):
            values, gradients = loss.value_and_gradient(w)
            reached, bounded = values <= epsilon, values <= limit
            going = bounded & ~reached & (step < max_steps)
            if not going.all():
                status[runs[reached]], status[runs[~bounded]] = "reached", "diverged"
                ended = runs[~going]
                steps[ended], losses[ended], weights[ended] = step, values[~going], w[~going]
                runs, eta = runs[going], eta[going]
                w, gradients = w[going], gradients[going]
                if not len(runs):
                    break
            w = w - eta[:, None] * gradients
        predictors = loss.predictor(weights)
        return Descents(
            learning_rates=rates,
            status=status,
            steps=steps,
            losses=losses,
            weights=weights,
            predictors=predictors,
            sharpness=_sharpness(loss, weights),
            l1_norm=l1_norm(weights, 1),
            l2_norm=l2_norm(weights, 1),
        )


def _sharpness(loss: TrainingLoss, weights: Array) -> Array:
    """S where the Hessian is finite, not a number elsewhere."""
    usable = np.all(np.isfinite(loss.hessian(weights)), axis=(-1, -2))
    found = np.full(len(weights), math.nan)
    found[usable] = loss.sharpness(weights[usable])
    return found
