"""A start: the state of another trial at which a trial begins, in place of θ0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.spec.values import SpecError, positive, whole

if TYPE_CHECKING:
    from jobs.spec.protocol import Protocol
    from jobs.spec.trial import Trial

MOST_AVERAGED = 100
"""Iterates of which a mean is taken: each is in memory until then."""

KINDS = ("epsilon", "step", "chi")


@dataclass(frozen=True, kw_only=True)
class StateName:
    """Which state of a trial is meant; exactly one of three fields says where it is.

    Attributes:
        epsilon: where the training loss first reached this threshold.
        step: after so many steps of GD.
        chi: the first recorded point where χ, which is S·η/2 for GD, is at least this.
        average: of how many iterates, the last of them there, the mean is taken.

    Raises:
        SpecError: none or several of the three fields are given, or a value is one of no state.
    """

    epsilon: float | None = None
    step: int | None = None
    chi: float | None = None
    average: int = 1

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = ", ".join(given) or "no field"
            raise SpecError("start", said, "one of epsilon, step and chi")
        if self.step is not None:
            whole("step", self.step, 0)
        for field in ("epsilon", "chi"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, positive(field, getattr(self, field)))
        whole("average", self.average, 1, MOST_AVERAGED)

    @property
    def content(self) -> dict[str, object]:
        """What names it: the fields that are given."""
        fields = {"average": None if self.average == 1 else self.average}
        fields |= {kind: getattr(self, kind) for kind in KINDS}
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def file_name(self) -> str:
        """A text by which files tell states of one trial apart."""
        return "-".join(
            f"{name}{value.hex() if isinstance(value, float) else value}"
            for name, value in sorted(self.content.items())
        )

    def __str__(self) -> str:
        """In words: ``ε = 0.1``, ``step 100``, ``χ = 0.8``, and of how many the mean is."""
        place = (
            f"ε = {self.epsilon:g}"
            if self.epsilon is not None
            else f"step {self.step}"
            if self.step is not None
            else f"χ = {self.chi:g}"
        )
        return place if self.average == 1 else f"{place}, mean of {self.average}"


@dataclass(frozen=True, kw_only=True)
class Start:
    """A state of another trial of GD, the parent, on the same problem.

    Raises:
        SpecError: the parent is a flow, or ends before it could reach the state.
    """

    parent: Trial
    state: StateName

    def __post_init__(self) -> None:
        if self.parent.kind == "flow":
            raise SpecError("start", self.parent.trial_id, "a state of GD, not of a flow")
        check_reached(self.state, self.parent.protocol)

    @property
    def content(self) -> dict[str, object]:
        """What names it."""
        return {"parent": self.parent.trial_id, **self.state.content}


def check_reached(state: StateName, protocol: Protocol) -> None:
    """Make sure that trials under a protocol can reach a state.

    Raises:
        SpecError: it is at a threshold that is none of theirs, or after more steps than they make.
    """
    if state.epsilon is not None and state.epsilon not in protocol.epsilons:
        known = ", ".join(f"{epsilon:g}" for epsilon in protocol.epsilons)
        raise SpecError("epsilon", state.epsilon, f"one of the parent's loss thresholds, {known}")
    if state.step is not None and state.step > protocol.max_steps:
        expected = f"at most {protocol.max_steps}, the parent's largest number of steps"
        raise SpecError("step", state.step, expected)
