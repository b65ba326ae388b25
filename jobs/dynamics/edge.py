"""The edge of stability at a point: the eigenvalues of the Hessian near 2/η, and what keeps them
from rising above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jobs.curvature.leading import MOST_ABOVE, Leading
from jobs.curvature.third_derivatives import hessian_gradients
from jobs.dynamics.complementarity import Matrix, as_matrix, as_vector, pairs, scales, solve
from jobs.objective import Objective

BAND = 0.04
"""How far below 2/η, relative to it, an eigenvalue may lie and still be near it."""

RETURN = 1.0
"""The time in which an eigenvalue above 2/η comes back, in units of η: GD, which grows an
oscillation there, needs a few steps. It is only of weight where θ0 lies above the edge."""


class NotAtEdgeError(ValueError):
    """No oscillation keeps the eigenvalues at 2/η; says why."""


@dataclass(frozen=True, eq=False)
class Push:
    """The oscillation that keeps eigenvalues at 2/η, and what it does to θ.

    ``covariance`` is X, of shape (k, k) in the basis of the edge's eigenvectors, and ``force``
    ½ ∇⟨H, U X Uᵀ⟩ of shape (P,). ``expected`` are the eigenvalues of the edge at the end of the
    step, in descending order. ``residual`` is how far X is from complementary
    (:class:`~jobs.dynamics.complementarity.Solution`).
    """

    covariance: Matrix
    force: Tensor
    expected: Matrix
    residual: float

    @property
    def rank(self) -> int:
        """In how many directions it oscillates."""
        values = np.linalg.eigvalsh(self.covariance) if self.covariance.size else np.zeros(0)
        return int((values > 1e-6 * values[-1]).sum()) if values.any() else 0


@dataclass(frozen=True, eq=False)
class Edge:
    """The eigenvalues at a point that are near 2/η or above it, and how they change with θ.

    ``leading`` has the k eigenpairs near the edge, and the next ones. ``slopes`` are ∇(uᵢᵀHuⱼ) of
    their pairs, scaled as the entries of :func:`~jobs.dynamics.complementarity.as_vector`, of shape
    (k(k+1)/2, P).
    """

    learning_rate: float
    leading: Leading
    slopes: Tensor

    @property
    def limit(self) -> float:
        """2/η."""
        return 2 / self.learning_rate

    @classmethod
    def measured(
        cls, objective: Objective, theta: Tensor, learning_rate: float, leading: Leading
    ) -> Edge:
        """The edge at θ, where ``leading`` was measured.

        Raises:
            NotAtEdgeError: more eigenvalues are at the edge than can be held.
        """
        count, most = leading.above, MOST_ABOVE
        if count == most and leading.values[count - 1] >= 2 / learning_rate:
            raise NotAtEdgeError(f"{most} eigenvalues or more are at 2/η; there may be {most - 1}")
        slopes = hessian_gradients(objective, theta, leading.vectors[:count], pairs(count))
        factors = torch.from_numpy(scales(count)).to(slopes)
        return cls(learning_rate, leading, slopes * factors[:, None])

    def push(self, objective: Objective, gradient: Tensor, h: float) -> Push:
        """What keeps the eigenvalues at or below 2/η for a step of length h.

        With A = (2/η) I − UᵀHU the step changes A by T·Δ, T the slopes and Δ what θ loses in it:
        h φ(hH) (∇L + force), φ(z) = (1 − e⁻ᶻ)/z, which is taken as 1 but for the eigenvectors at
        hand. X is the least one with A + T·Δ ⪰ 0. Of eigenvalues above 2/η, a part of the way back
        is asked for.

        Args:
            objective: L, whose ranks agree on the small numbers.
            gradient: ∇L, shape (P,).
            h: the step's length.

        Raises:
            NotAtEdgeError: there is no such X.
        """
        count = self.leading.above
        if not count:
            nothing = np.zeros((0, 0))
            return Push(nothing, torch.zeros_like(gradient), np.zeros(0), 0.0)
        vectors, values = self.leading.vectors[:count], np.array(self.leading.values[:count])
        right = torch.cat([self.slopes, gradient[None], vectors])
        products = objective.agree((self.slopes @ right.T).double().cpu()).numpy()
        along = objective.agree((vectors @ gradient).double().cpu()).numpy()
        number = len(self.slopes)
        gram, downhill, across = np.split(products, [number, number + 1], axis=1)
        z = h * values
        damped = -np.expm1(-z) / z - 1
        gram = gram + (across * damped) @ across.T
        drift = downhill[:, 0] + (across * damped) @ along
        room = self.limit - values
        back = max(2 * h, RETURN * self.learning_rate)
        alpha = np.diag(np.where(room > 0, room / h, room / back)) + as_matrix(drift)
        found = solve(gram / 2, alpha)
        if found is None:
            raise NotAtEdgeError(
                f"no oscillation holds {count} eigenvalue{'s' if count > 1 else ''} at 2/η"
            )
        x = as_vector(found.x)
        force = torch.from_numpy(x / 2).to(self.slopes) @ self.slopes
        ahead = np.diag(room) + h * as_matrix(drift + gram @ x / 2)
        expected = np.sort(self.limit - np.linalg.eigvalsh(ahead))[::-1]
        return Push(found.x, force, expected, found.residual)
