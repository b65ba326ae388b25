"""What one trial is: frozen values with canonical names, so that equal work has one identity.

A trial is named by everything that changes a number in its rows and by nothing else: not by the
device, the host, the order or the time. This module needs the standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
from dataclasses import dataclass
from typing import Literal

SCHEMA_VERSION = 1
"""Part of every hash: raised when the meaning of a field or of a computed number changes."""

ARCHITECTURES = ("fcn",)
ACTIVATIONS = ("relu", "tanh", "gelu")
LOSSES = ("mse", "ce")
PARAMETERIZATIONS = ("standard",)
DTYPES = ("float32", "float64")
FLOW_METHODS = ("rkc2", "rk4")

Kind = Literal["gd", "flow"]


class SpecError(ValueError):
    """A value that no trial can have; names the field, the value and what would be right."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(f"{field} is {value!r}; it must be {expected}")


def _one_of(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(field, value, "one of " + ", ".join(choices))


def _whole(field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError(field, value, f"a whole number of at least {least}")
    if value >= 2**63:
        raise SpecError(field, value, "a whole number below 2^63")


def positive(field: str, value: object) -> float:
    """The value as a float.

    Raises:
        SpecError: it is no finite number above 0.
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not 0 < number <= sys.float_info.max:
        raise SpecError(field, value, "a finite number above 0")
    return float(number)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything that fixes the initial parameters θ0 and the training loss L.

    Raises:
        SpecError: a field has a value that no problem can have.
    """

    dataset: str
    n_train: int
    architecture: str = "fcn"
    width: int = 200
    depth: int = 2
    activation: str = "tanh"
    loss: str = "mse"
    parameterization: str = "standard"
    init_scale: float = 1.0
    seed: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str) or not self.dataset:
            raise SpecError("dataset", self.dataset, "the name of a dataset")
        _whole("n_train", self.n_train, 1)
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _whole("width", self.width, 1)
        _whole("depth", self.depth, 0)
        _one_of("activation", self.activation, ACTIVATIONS)
        _one_of("loss", self.loss, LOSSES)
        _one_of("parameterization", self.parameterization, PARAMETERIZATIONS)
        object.__setattr__(self, "init_scale", positive("init_scale", self.init_scale))
        _whole("seed", self.seed, 0)
        _one_of("dtype", self.dtype, DTYPES)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """When the trials of a column stop and what they measure on the way.

    ``epsilons`` are the loss thresholds; they are kept distinct and in descending order, the order
    in which a run crosses them. ``max_steps`` bounds the steps of GD and of the flow alike, and the
    flow's gradients to ten times as many. A trial has diverged when its loss is not finite or above
    ``divergence_factor`` times the initial loss.
    ``trajectory_every`` is in steps. ``sharpness_rtol`` is the residual ‖Hv − λv‖ asked of every
    eigenpair, relative to the operator norm of H.

    Raises:
        SpecError: a field has a value that no protocol can have.
    """

    epsilons: tuple[float, ...]
    max_steps: int = 100_000
    divergence_factor: float = 1e3
    trajectory_every: int = 50
    sharpness_rtol: float = 1e-3
    flow_method: str = "rkc2"

    def __post_init__(self) -> None:
        if not isinstance(self.epsilons, (list, tuple)):
            raise SpecError("epsilon", self.epsilons, "a sequence of loss thresholds")
        if not self.epsilons:
            raise SpecError("epsilon", list(self.epsilons), "at least one loss threshold")
        distinct = {positive("epsilon", epsilon) for epsilon in self.epsilons}
        object.__setattr__(self, "epsilons", tuple(sorted(distinct, reverse=True)))
        _whole("max_steps", self.max_steps, 1)
        factor = positive("divergence_factor", self.divergence_factor)
        if factor <= 1:
            raise SpecError("divergence_factor", self.divergence_factor, "a finite number above 1")
        object.__setattr__(self, "divergence_factor", factor)
        _whole("trajectory_every", self.trajectory_every, 1)
        rtol = positive("sharpness_rtol", self.sharpness_rtol)
        if rtol >= 1:
            raise SpecError("sharpness_rtol", self.sharpness_rtol, "between 0 and 1")
        object.__setattr__(self, "sharpness_rtol", rtol)
        _one_of("flow_method", self.flow_method, FLOW_METHODS)


LEAST_RTOL = {"float32": 1e-6, "float64": 1e-14}
"""The relative residual of an eigenpair that may be asked for, by dtype. Rounding stopped it at up
to 2.5 epsilons in float32, and 7 in float64, on networks of 30,000 to 660,000 parameters and on
diagonal operators of 10⁶ entries."""


def check_reachable(problem: Problem, protocol: Protocol) -> None:
    """Make sure that the problem's dtype can meet the protocol's tolerance.

    Raises:
        SpecError: ``sharpness_rtol`` is below the dtype's rounding.
    """
    least = LEAST_RTOL[problem.dtype]
    if protocol.sharpness_rtol < least:
        wider = "" if problem.dtype == "float64" else ", or dtype float64"
        expected = f"at least {least:g} in {problem.dtype}{wider}"
        raise SpecError("sharpness_rtol", protocol.sharpness_rtol, expected)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One gradient flow, or one gradient-descent run at one learning rate η.

    Raises:
        SpecError: a flow with a learning rate, GD without a positive finite one, or a tolerance
            that the dtype cannot reach.
    """

    problem: Problem
    protocol: Protocol
    kind: Kind
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.kind == "gd":
            eta = positive("learning_rate", self.learning_rate)
            object.__setattr__(self, "learning_rate", eta)
        elif self.kind == "flow":
            if self.learning_rate is not None:
                raise SpecError("learning_rate", self.learning_rate, "absent for a flow")
        else:
            raise SpecError("kind", self.kind, "one of gd, flow")
        check_reachable(self.problem, self.protocol)

    @functools.cached_property
    def trial_id(self) -> str:
        """16 hex digits that name what this trial computes."""
        protocol = dataclasses.asdict(self.protocol)
        if self.kind == "gd":
            del protocol["flow_method"]
        return _digest(
            {
                "kind": self.kind,
                "learning_rate": self.learning_rate,
                "problem": dataclasses.asdict(self.problem),
                "protocol": protocol,
            }
        )

    @functools.cached_property
    def column_id(self) -> str:
        """16 hex digits that all trials of one column share: problem and protocol, without η."""
        return column_id(self.problem, self.protocol)


def column_id(problem: Problem, protocol: Protocol) -> str:
    """The 16 hex digits that name one problem measured by one protocol."""
    return _digest(
        {
            "kind": "column",
            "problem": dataclasses.asdict(problem),
            "protocol": dataclasses.asdict(protocol),
        }
    )


def _digest(content: dict[str, object]) -> str:
    canonical = canonical_json({"schema": SCHEMA_VERSION, **content})
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def canonical_json(content: object) -> str:
    """One spelling per value: sorted keys, no blanks, floats as exact hexadecimal strings."""
    return json.dumps(_exact(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _exact(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    return value
