"""A trial, and the names of trials and columns: equal work has one identity.

A trial is named by everything that changes a number in its rows and by nothing else: not by the
device, the host, the order or the time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from jobs.spec.optimizer import GD, Optimizer
from jobs.spec.problem import Problem
from jobs.spec.protocol import ROUNDING, Protocol, check_reachable
from jobs.spec.start import Start
from jobs.spec.values import SpecError, digest_of, one_of, positive

SCHEMA_VERSION = 3
"""Part of every hash: raised when the meaning of a field or of a computed number changes."""

Kind = Literal["gd", "flow", "central"]
"""Gradient descent, the gradient flow, and the central flow of GD at a learning rate."""

KINDS: tuple[Kind, ...] = get_args(Kind)

NAMES: dict[Kind, str] = {"gd": "GD", "flow": "flow", "central": "central flow"}
"""What the kinds are called."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One gradient flow, or one gradient-descent run or central flow at one learning rate η.

    It begins at θ0, or GD at a state of another trial on the same problem, its ``start``.

    Raises:
        SpecError: a flow with a learning rate, a flow or central flow with an optimiser or a start,
            GD or a central flow without a positive finite rate, a start from another problem or
            from a flow, the distance from the flow where the limit of small η is another one, or a
            tolerance that the dtype cannot reach.
    """

    problem: Problem
    protocol: Protocol
    kind: Kind
    learning_rate: float | None = None
    optimizer: Optimizer = GD
    start: Start | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        if self.kind == "flow":
            if self.learning_rate is not None:
                raise SpecError("learning_rate", self.learning_rate, "absent for a flow")
        else:
            eta = positive("learning_rate", self.learning_rate)
            object.__setattr__(self, "learning_rate", eta)
        if self.kind == "flow":
            object.__setattr__(self, "protocol", self.protocol.of_flow)
        elif isinstance(self.protocol.max_time, str):
            expected = "a number for a trial; a sweep makes one of 'flow K'"
            raise SpecError("max_time", self.protocol.max_time, expected)
        if self.kind != "gd":
            absent = f"absent for a {NAMES[self.kind]}"
            if self.optimizer != GD:
                raise SpecError("optimizer", str(self.optimizer), absent)
            if self.start is not None:
                raise SpecError("start", str(self.start.state), absent)
        check_reachable(self.problem, self.protocol)
        check_comparable(self.protocol, self.optimizer, starts_elsewhere=self.start is not None)
        if self.start is not None and self.start.parent.problem != self.problem:
            raise SpecError("start", self.start.parent.trial_id, "a trial on the same problem")

    @functools.cached_property
    def trial_id(self) -> str:
        """16 hex digits that name what this trial computes."""
        follows_flow = self.kind == "flow" or "distance_from_flow" in self.protocol.also
        eta = "null" if self.learning_rate is None else f'"{self.learning_rate.hex()}"'
        return _digest(
            f'"kind":"{self.kind}","learning_rate":{eta}{_spelled_optimizer(self.optimizer)}'
            f"{_spelled_start(None if self.start is None else self.start.content)}",
            _spelled_problem(self.problem),
            _spelled_protocol(self.protocol, with_flow=follows_flow),
        )

    @functools.cached_property
    def column_id(self) -> str:
        """16 hex digits that all trials of one column share but its flow, whatever their η.

        Raises:
            ValueError: the trial has a start, so that its sweep names its column.
        """
        if self.start is not None:
            raise ValueError(f"trial {self.trial_id} has a start; its sweep names its column")
        return column_id(self.problem, self.protocol, self.optimizer, kind=self.kind)

    @functools.cached_property
    def flow_id(self) -> str:
        """The ``trial_id`` of the flow that this trial is compared with; of a flow, its own."""
        if self.kind == "flow":
            return self.trial_id
        return Trial(problem=self.problem, protocol=self.protocol, kind="flow").trial_id

    @property
    def step_time(self) -> float | None:
        """The flow's time that a step of GD takes; None where steps have no constant length."""
        eta = self.learning_rate if self.kind == "gd" else None
        return None if eta is None else self.optimizer.time_per_step(eta)

    @functools.cached_property
    def most_steps(self) -> int:
        """The steps after which it ends at the latest: of GD, those that ``max_time`` takes, if
        they are fewer than ``max_steps``.
        """
        limit, time = self.protocol.max_steps, self.protocol.time_bound()
        if time is None or self.step_time is None:
            return limit
        return min(limit, max(1, math.ceil(time / self.step_time * (1 - ROUNDING))))

    @property
    def batch_key(self) -> str:
        """16 hex digits that trials share which one batch can have: nothing but η, the seed, the
        initial scale and the start is different, so that samples, shapes and what is measured are
        the same.
        """
        return _batch_key(self.problem, self.protocol, self.optimizer)


@functools.lru_cache(maxsize=4096)
def _batch_key(problem: Problem, protocol: Protocol, optimizer: Optimizer) -> str:
    return column_id(dataclasses.replace(problem, seed=0, init_scale=1.0), protocol, optimizer)


def column_id(
    problem: Problem,
    protocol: Protocol,
    optimizer: Optimizer = GD,
    start: Mapping[str, object] | None = None,
    kind: Kind = "gd",
) -> str:
    """The 16 hex digits that name one problem with an optimiser, measured by one protocol; with the
    content of a start, where its trials have one. Central flows have a column of their own.
    """
    of_kind = '"kind":"central column"' if kind == "central" else '"kind":"column"'
    begin = f"{of_kind}{_spelled_optimizer(optimizer)}{_spelled_start(start)}"
    return _digest(begin, _spelled_problem(problem), _spelled_protocol(protocol, with_flow=True))


def _digest(begin: str, problem: str, protocol: str) -> str:
    """The name of a content, of which each part is given in canonical JSON."""
    canonical = f'{{{begin},"problem":{problem},"protocol":{protocol},"schema":{SCHEMA_VERSION}}}'
    return digest_of(canonical.encode())


# A sweep has 10⁵ trials, and a column's are named one after another: what they share is spelled
# once, and what they do not share without the detour of an encoder.


@functools.lru_cache(maxsize=128)
def _spelled_problem(problem: Problem) -> str:
    values = vars(problem)
    names = (name for name in _PROBLEM if name not in _LATER or values[name] is not None)
    return "{" + ",".join(_spelled_field(name, values[name]) for name in names) + "}"


@functools.lru_cache(maxsize=4096, typed=True)  # 1, 1.0 and True are spelled differently
def _spelled_field(name: str, value: object) -> str:
    return f'"{name}":{canonical_json(value)}'


@functools.lru_cache(maxsize=128)
def _spelled_optimizer(optimizer: Optimizer) -> str:
    """A further entry of a content; none for GD, which once was the only one."""
    if optimizer == GD:
        return ""
    constants = {name: value for name, value in vars(optimizer).items() if value is not None}
    return f',"optimizer":{canonical_json(constants)}'


def _spelled_start(content: Mapping[str, object] | None) -> str:
    """A further entry of a content; none for θ0, where once all trials began."""
    return "" if content is None else f',"start":{canonical_json(content)}'


@functools.lru_cache(maxsize=128)
def _spelled_protocol(protocol: Protocol, *, with_flow: bool) -> str:
    """A protocol, of trials that integrate the flow or of others."""
    names = _PROTOCOL if with_flow else [name for name in _PROTOCOL if name != "flow_method"]
    values = {name: getattr(protocol, name) for name in names}
    return canonical_json({name: v for name, v in values.items() if name not in _LATER or v})


_PROBLEM, _PROTOCOL = (
    sorted(field.name for field in dataclasses.fields(kind)) for kind in (Problem, Protocol)
)


_LATER = ("weight_decay", "trajectory_eigenvalues", "max_time")
"""Fields that were not always there: where they are None or 0, names are those of before."""


def check_comparable(
    protocol: Protocol, optimizer: Optimizer, *, starts_elsewhere: bool = False
) -> None:
    """Make sure that a trial can be compared with the flow, where a protocol asks for that.

    Raises:
        SpecError: its optimiser is adaptive, or it does not begin at θ0, so that its limit for
            small η is another one.
    """
    if "distance_from_flow" not in protocol.also:
        return
    if optimizer.is_adaptive:
        expected = f"left out for {optimizer.name}, which has another limit than the gradient flow"
        raise SpecError("also", "distance_from_flow", expected)
    if starts_elsewhere:
        expected = "left out for trials that do not begin at θ0, as the flow does"
        raise SpecError("also", "distance_from_flow", expected)


def canonical_json(content: object) -> str:
    """One spelling per value: sorted keys, no blanks, floats as exact hexadecimal strings."""
    return _ENCODER.encode(_exact(content))


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _exact(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    if isinstance(value, float):
        return value.hex()
    return value
