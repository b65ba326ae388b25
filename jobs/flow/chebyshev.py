"""The coefficients of the second-order Runge-Kutta-Chebyshev method, for any number of stages.

Formulas: Sommeijer, Shampine and Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput.
Appl. Math. 88 (1997).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

DAMPING = 2 / 13
MOST_STAGES = 100

REACH = 1 / 1.54
"""A method of s stages is stable for h ρ ≤ REACH (s² − 1), ρ the spectral radius."""


@dataclass(frozen=True)
class Stage:
    """μ, ν, μ̃ and γ̃ of one stage after the first."""

    mu: float
    nu: float
    mu_tilde: float
    gamma_tilde: float


@functools.cache
def coefficients(stages: int) -> tuple[float, tuple[Stage, ...]]:
    """μ̃₁, and the coefficients of the stages from the second on."""
    w0 = 1 + DAMPING / stages**2
    t, dt, d2t = [1.0, w0], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, stages + 1):
        t.append(2 * w0 * t[-1] - t[-2])
        dt.append(2 * t[-2] + 2 * w0 * dt[-1] - dt[-2])
        d2t.append(4 * dt[-2] + 2 * w0 * d2t[-1] - d2t[-2])
    w1 = dt[stages] / d2t[stages]
    b = [0.0, 0.0, *(d2t[j] / dt[j] ** 2 for j in range(2, stages + 1))]
    b[0] = b[1] = b[2]
    rest = tuple(
        Stage(
            mu=2 * b[j] * w0 / b[j - 1],
            nu=-b[j] / b[j - 2],
            mu_tilde=2 * b[j] * w1 / b[j - 1],
            gamma_tilde=-(1 - b[j - 1] * t[j - 1]) * 2 * b[j] * w1 / b[j - 1],
        )
        for j in range(2, stages + 1)
    )
    return b[1] * w1, rest
