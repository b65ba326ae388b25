"""The gradient flow dθ/dt = −∇L(θ), integrated numerically, by method.

``rk4`` is the textbook reference; ``rkc2`` reaches the same points with a fraction of the
gradients, because its stability region grows with the square of its stages.
"""

from collections.abc import Callable

from jobs.flow.integrator import Integrator
from jobs.flow.rk4 import RungeKutta4
from jobs.flow.rkc2 import RungeKuttaChebyshev2
from jobs.objective import Objective

__all__ = ["METHODS", "Integrator", "RungeKutta4", "RungeKuttaChebyshev2"]

METHODS: dict[str, Callable[[Objective], Integrator]] = {
    "rk4": RungeKutta4,
    "rkc2": RungeKuttaChebyshev2,
}
