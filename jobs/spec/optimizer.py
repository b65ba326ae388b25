"""An optimiser: how gradient descent makes its step from gradients, and where it is stable."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.spec.values import SpecError, one_of, positive

OPTIMIZERS = ("gd", "heavy_ball", "nesterov", "rmsprop", "adam")

CONSTANTS: dict[str, dict[str, float]] = {
    "gd": {},
    "heavy_ball": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "rmsprop": {"beta2": 0.99, "damping": 1e-8},
    "adam": {"momentum": 0.9, "beta2": 0.999, "damping": 1e-8},
}
"""The constants of each optimiser, and their defaults: those of PyTorch."""

ADAPTIVE = ("rmsprop", "adam")
"""Those with a preconditioner P other than the identity."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A full-batch optimiser with a constant learning rate η, as PyTorch defines it.

    With g = ∇L(θ), m and v beginning at 0, all operations on vectors by entries, in step t:

    - ``gd``: θ ← θ − η g
    - ``heavy_ball``: m ← β m + g, θ ← θ − η m
    - ``nesterov``: m ← β m + g, θ ← θ − η (g + β m)
    - ``rmsprop``: v ← β₂ v + (1 − β₂) g², θ ← θ − η g / (√v + δ)
    - ``adam``: m ← β m + (1 − β) g, v as above, θ ← θ − η (m / (1 − βᵗ)) / (√(v / (1 − β₂ᵗ)) + δ)

    A field that the optimiser has no use for is None, whatever was given; without momentum,
    ``heavy_ball`` and ``nesterov`` are ``gd``. So optimisers that compute the same are equal.

    Attributes:
        name: one of the above.
        momentum: β.
        beta2: β₂.
        damping: δ, Adam's ε.

    Raises:
        SpecError: a field has a value that no optimiser can have.
    """

    name: str = "gd"
    momentum: float | None = None
    beta2: float | None = None
    damping: float | None = None

    def __post_init__(self) -> None:
        one_of("name", self.name, OPTIMIZERS)
        for field in ("momentum", "beta2", "damping"):
            default, given = CONSTANTS[self.name].get(field), getattr(self, field)
            value = None if default is None else default if given is None else given
            if value is not None:
                value = positive(field, value) if field == "damping" else _decay(field, value)
            object.__setattr__(self, field, value)
        if self.name in ("heavy_ball", "nesterov") and not self.momentum:
            object.__setattr__(self, "name", "gd")
            object.__setattr__(self, "momentum", None)

    @property
    def is_adaptive(self) -> bool:
        """Whether it has a preconditioner P other than the identity."""
        return self.name in ADAPTIVE

    @property
    def edge(self) -> float:
        """η λ_max(P⁻¹ᐟ² H P⁻¹ᐟ²) at the edge of stability, on a quadratic with a constant P.

        2 for GD and RMSProp, 2 (1 + β) for heavy ball, 2 (1 + β) / (1 + 2β) for Nesterov (Cohen et
        al. 2021, arXiv 2103.00065), 2 (1 + β) / (1 − β) for Adam, whose m is an average (Cohen et
        al. 2022, arXiv 2207.14484).

        >>> round(Optimizer(name="adam").edge, 9), Optimizer(name="heavy_ball", momentum=0.5).edge
        (38.0, 3.0)
        """
        beta = self.momentum or 0.0
        return {
            "gd": 2.0,
            "heavy_ball": 2 * (1 + beta),
            "nesterov": 2 * (1 + beta) / (1 + 2 * beta),
            "rmsprop": 2.0,
            "adam": 2 * (1 + beta) / (1 - beta),
        }[self.name]

    def critical_rate(self, sharpness: float) -> float | None:
        """The η at whose edge a sharpness of the gradient flow is; None for adaptive optimisers,
        whose limit for small η is not the gradient flow.
        """
        return None if self.is_adaptive else self.edge / sharpness

    def chi(self, learning_rate: float, preconditioned_sharpness: float) -> float:
        """χ: η times the largest curvature, in units of that at the edge; S·η/2 for GD."""
        return learning_rate * preconditioned_sharpness / self.edge

    def time_per_step(self, learning_rate: float) -> float:
        """The flow's time that a step of small η takes: momentum adds up to η / (1 − β)."""
        if self.name in ("heavy_ball", "nesterov"):
            return learning_rate / (1 - (self.momentum or 0.0))
        return learning_rate

    @property
    def columns(self) -> dict[str, str | float | None]:
        """Its fields as the columns of tables are called."""
        return {"optimizer": self.name, **{k: v for k, v in vars(self).items() if k != "name"}}

    def __str__(self) -> str:
        """In few words: ``adam β=0.9 β₂=0.999``."""
        words = {"momentum": "β", "beta2": "β₂", "damping": "δ"}
        defaults = CONSTANTS[self.name]
        said = {
            word: getattr(self, field)
            for field, word in words.items()
            if field in defaults and (field != "damping" or getattr(self, field) != defaults[field])
        }
        name = self.name.replace("_", " ")
        return " ".join([name, *(f"{word}={value:g}" for word, value in said.items())])


GD = Optimizer()


def _decay(field: str, value: object) -> float:
    """A rate of decay as a float.

    Raises:
        SpecError: it is not in [0, 1).
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is None or not 0 <= number < 1:
        raise SpecError(field, value, "from 0 to below 1")
    return float(number)
