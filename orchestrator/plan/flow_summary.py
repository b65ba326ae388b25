"""What a plan needs to know of a settled flow, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """How one trial met one loss threshold; ``time`` in units of the flow's time."""

    epsilon: float
    status: str
    time: float
    max_sharpness: float | None


@dataclass(frozen=True)
class FlowSummary:
    """What a settled flow says about its column.

    ``sharpness`` is s_gf(ε), the largest sharpness along the flow until loss ε, for every
    threshold that the flow reached; ``time`` is the flow's time to the smallest of them.
    ``init_sharpness`` is that at θ0. ``gradients`` and ``hvps`` are what the flow took, with what
    it measured.
    """

    sharpness: Mapping[float, float]
    time: float | None
    gradients: int
    hvps: int
    seconds_per_gradient: float
    init_sharpness: float | None = None

    @classmethod
    def of(
        cls,
        thresholds: Iterable[Threshold],
        *,
        gradients: int,
        hvps: int,
        wall_s: float,
        init_sharpness: float | None,
    ) -> FlowSummary:
        """The summary of a flow that took ``wall_s`` seconds."""
        reached = [t for t in thresholds if t.status == "reached" and t.max_sharpness]
        return cls(
            sharpness={t.epsilon: t.max_sharpness for t in reached if t.max_sharpness},
            time=max((t.time for t in reached), default=None),
            gradients=gradients,
            hvps=hvps,
            seconds_per_gradient=wall_s / max(gradients + hvps, 1),
            init_sharpness=init_sharpness,
        )

    def critical_rate(self, epsilon: float) -> float | None:
        """η_c = 2 / s_gf(ε), or None where the flow did not reach ε."""
        sharpness = self.sharpness.get(epsilon)
        return None if sharpness is None else 2 / sharpness

    @property
    def initial_rate(self) -> float | None:
        """2 over the sharpness at θ0, or None where that is 0 or was not measured."""
        return 2 / self.init_sharpness if self.init_sharpness else None
