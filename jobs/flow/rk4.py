"""``rk4``: the classical Runge-Kutta method, the reference for the others."""

from __future__ import annotations

from torch import Tensor

from jobs.flow.integrator import Candidate, Integrator


class RungeKutta4(Integrator):
    """Steps of length h = 1/S, S the sharpness (Cohen et al. 2021).

    The method is stable on the real axis up to h S ≈ 2.785, so that h = 1/S leaves room for S to
    grow between measurements.
    """

    def _take(self, theta: Tensor) -> Candidate:
        h = self._unit(self._looks.latest)
        candidate, _ = self._runge_kutta_4(theta, h)
        while self._rises(candidate):
            self._looks.soon()
            h /= 2
            candidate, _ = self._runge_kutta_4(theta, h)
        return candidate

    def _step(self, theta: Tensor, h: float) -> Candidate:
        return self._runge_kutta_4(theta, h)[0]
