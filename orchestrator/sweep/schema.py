"""The keys of a sweep file: their types, their defaults and what each value must be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobs.kept_states import THRESHOLDS
from jobs.spec import FLOW_METHODS, FURTHER_MEASURES, KINDS, Kind, Protocol, SpecError
from orchestrator.sweep.grid import Grid, Resources
from orchestrator.sweep.keys import (
    TOO_LARGE,
    EtaKeys,
    Keys,
    MatchKeys,
    OptimizerKeys,
    ProblemKeys,
    RangeKeys,
    RefineKeys,
    RepeatKeys,
    SomeEtaKeys,
    SomeProblemKeys,
    StartKeys,
    refuse_too_large,
)
from orchestrator.sweep.rules import OF_OPTIMIZER, Condition

MOST_RULES = 1_000
"""Exclusions, and conditions: every problem is matched against each of them."""

_LISTS_OF_KEYS = "a list of lists of two or more keys, such as [problem.dataset, problem.n_train]"


_ANY_PROTOCOL = {"epsilons": (1.0,), "also": FURTHER_MEASURES}
"""A protocol in which every field has a meaning."""


class _ProtocolKeys(Keys):
    """Scalar fields of :class:`jobs.spec.Protocol`, which says what each may be."""

    @field_validator("*", mode="before")
    @classmethod
    def _as_in_protocol(cls, value: object, info: ValidationInfo) -> object:
        refuse_too_large(str(info.field_name), value)
        if info.field_name == "epsilon":
            listed = tuple(value) if isinstance(value, list) else (value,)
            for threshold in listed:
                refuse_too_large("epsilon", threshold)
            return Protocol(epsilons=listed).epsilons
        field = str(info.field_name)
        if field == "also" and not isinstance(value, list):
            value = [value]
        if value is None and Protocol.__dataclass_fields__[field].default is None:
            return None
        named: dict[str, Any] = {**_ANY_PROTOCOL, field: value}
        return getattr(Protocol(**named), field)


class StopKeys(_ProtocolKeys):
    """When a trial ends."""

    epsilon: tuple[float, ...] = Field(description="a loss threshold or a list of them")
    max_steps: int = Protocol.max_steps
    max_time: float | str | None = Protocol.max_time
    divergence_factor: float = Protocol.divergence_factor


class MeasureKeys(_ProtocolKeys):
    """What a trial records on its way, and how exactly."""

    trajectory_every: int | str | None = Protocol.trajectory_every
    trajectory_eigenvalues: int = Protocol.trajectory_eigenvalues
    sharpness_rtol: float = Protocol.sharpness_rtol
    lambda_min_rtol: float | None = Protocol.lambda_min_rtol
    also: tuple[str, ...] = Protocol.also  # one name, or a list
    eigenvalues: int = Protocol.eigenvalues
    midpoint: bool = Protocol.midpoint
    probes: int | None = Protocol.probes
    perturbation: float | None = Protocol.perturbation


class FlowKeys(Keys):
    """How the gradient flow is integrated."""

    method: str = Field(
        default="default",
        pattern="^(" + "|".join(("default", *FLOW_METHODS)) + ")$",
        description="one of " + ", ".join(("default", *FLOW_METHODS)),
    )

    @property
    def resolved(self) -> str:
        """The method's own name, where ``default`` leaves the choice to this version."""
        return Protocol.flow_method if self.method == "default" else self.method


def _whole(number: float | None) -> float | None:
    """A whole number as such, so that it is written back as it was."""
    return int(number) if number is not None and number.is_integer() else number


_KEEP = "thresholds, a list of numbers of steps, or of both, such as [thresholds, 0, 100]"


def _keep(value: object) -> tuple[str | int, ...]:
    """Which states are kept: ``thresholds`` first, then steps, each once."""
    words = list(value) if isinstance(value, (list, tuple)) else [value]
    for word in words:
        refuse_too_large("keep", word)
        whole = isinstance(word, int) and not isinstance(word, bool) and word >= 0
        if word != THRESHOLDS and not whole:
            raise SpecError("keep", value, _KEEP)
    steps = sorted({word for word in words if isinstance(word, int)})
    return (*([THRESHOLDS] if THRESHOLDS in words else []), *steps)


class ResourcesKeys(Keys):
    """What one trial occupies while it runs."""

    workers: int = Field(default=1, ge=1, lt=TOO_LARGE, description="a whole number of at least 1")
    gpus_per_worker: Annotated[float | None, AfterValidator(_whole)] = Field(
        default=None,
        ge=0,
        le=1,
        description="0, 1, a fraction of a GPU between them, or null for one where that pays",
    )
    cpus_per_worker: int = Field(
        default=1, ge=1, lt=TOO_LARGE, description="a whole number of at least 1"
    )
    memory_gib_per_worker: float | None = Field(
        default=None,
        gt=0,
        description="a finite number above 0, or null for a fair share of what there is",
    )
    checkpoint_seconds: float = Field(
        default=Resources.checkpoint_seconds, ge=0, description="a finite number of at least 0"
    )
    compact_after: int | None = Field(
        default=Resources.compact_after,
        ge=2,
        lt=TOO_LARGE,
        description="a whole number of at least 2, or null to leave files as they are",
    )

    keep: Annotated[tuple[str | int, ...], BeforeValidator(_keep)] = Field(
        default=Resources.keep, description=_KEEP
    )


class SomeStopKeys(StopKeys):
    """What a condition changes of the end of a trial."""

    epsilon: tuple[float, ...] = ()


class ConditionKeys(Keys):
    """What is different for the columns that match; only what is said is changed."""

    match: MatchKeys
    problem: SomeProblemKeys = SomeProblemKeys()
    optimizer: OptimizerKeys = OptimizerKeys()
    eta: SomeEtaKeys = SomeEtaKeys()
    stop: SomeStopKeys = SomeStopKeys()
    flow: FlowKeys = FlowKeys()
    measure: MeasureKeys = MeasureKeys()
    resources: ResourcesKeys = ResourcesKeys()

    @property
    def condition(self) -> Condition:
        """The condition as a value."""
        return Condition(
            match=self.match.value,
            axes=tuple(
                axis
                for block in (self.problem, self.optimizer)
                for axis in block.axes
                if axis.field in block.said
            ),
            changes=tuple(self._changes()),
        )

    @model_validator(mode="after")
    def _changes_something(self) -> ConditionKeys:
        if not any(block.model_fields_set for _, block in self._blocks()):
            raise ValueError("a match alone")
        return self

    def _blocks(self) -> Iterator[tuple[str, Keys]]:
        for name in type(self).model_fields:
            if name != "match":
                yield name, getattr(self, name)

    def _changes(self) -> Iterator[tuple[str, Any]]:
        for name, block in self._blocks():
            for key in type(block).model_fields if name not in ("problem", "optimizer") else ():
                if key in block.model_fields_set:
                    yield f"{name}.{key}", _resolved(block, key)


def _resolved(block: Keys, key: str) -> object:
    """What a key of a condition stands for."""
    if isinstance(block, FlowKeys):
        return block.resolved
    if isinstance(block, EtaKeys) and key in ("values", "refine"):
        return block.value.multiples if key == "values" else block.value.refine
    return getattr(block, key)


def _zip(value: object) -> tuple[tuple[str, ...], ...]:
    """The fields of each list of keys that advance together."""
    fields = {f"problem.{name}": name for name in ProblemKeys.model_fields}
    fields |= {key: key for key in map(OF_OPTIMIZER.__add__, OptimizerKeys.model_fields)}
    seen: set[str] = set()
    if not isinstance(value, list):
        raise SpecError("zip", value, _LISTS_OF_KEYS)
    for group in value:
        if not isinstance(group, list) or len(group) < 2:
            raise SpecError("zip", group, _LISTS_OF_KEYS.partition(" of ")[2])
        for key in group:
            if not isinstance(key, str) or key not in fields:
                near = difflib.get_close_matches(str(key), fields, n=1)
                hint = f"; did you mean {near[0]}?" if near else ", such as problem.dataset"
                raise SpecError("zip", key, f"a key of the problem or the optimizer{hint}")
            if key in seen:
                raise SpecError("zip", key, "named once: an axis advances with one other list")
            seen.add(key)
    return tuple(tuple(fields[key] for key in group) for group in value)


_KINDS = "a list of flow, and of gd, central or both, such as [flow, gd, central]"


def _kinds(value: object) -> tuple[str, ...]:
    """The kinds of trials, each once and in one order."""
    words = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(word in KINDS for word in words) or "flow" not in words or len(set(words)) < 2:
        raise SpecError("kinds", value, _KINDS)
    return tuple(kind for kind in ("flow", "gd", "central") if kind in words)


_LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Block(Keys):
    """One grid: a file without ``grids``, or one of its blocks on top of the rest."""

    label: str | None = Field(
        default=None,
        pattern=_LABEL,
        description="text of at most 100 letters, digits, '.', '_' and '-' that begins with a "
        "letter or digit, by which other grids call this one",
    )
    start: StartKeys | None = Field(
        default=None,
        description="a block with from, and one of epsilon, step and chi, such as "
        "{from: hot, epsilon: 0.1}",
    )
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(_kinds)] = Field(
        default=Grid.kinds, description=_KINDS
    )
    problem: ProblemKeys
    optimizer: OptimizerKeys = OptimizerKeys()
    eta: EtaKeys
    stop: StopKeys
    flow: FlowKeys = FlowKeys()
    measure: MeasureKeys = MeasureKeys()
    resources: ResourcesKeys = ResourcesKeys()
    zip: Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_zip)] = Field(
        default=(), description=_LISTS_OF_KEYS
    )
    exclude: list[MatchKeys] = Field(
        default=[],
        max_length=MOST_RULES,
        description=f"a list of at most {MOST_RULES} blocks such as "
        "{problem.loss: ce, problem.depth: [3, 4]}",
    )
    when: list[ConditionKeys] = Field(
        default=[],
        max_length=MOST_RULES,
        description=f"a list of at most {MOST_RULES} blocks such as "
        "{match: {problem.loss: ce}, stop: {epsilon: 0.05}}",
    )


class File(Block):
    """A whole sweep file."""

    name: str = Field(
        pattern=_LABEL,
        description="text of at most 100 letters, digits, '.', '_' and '-' that begins with a "
        "letter or digit",
    )
    grids: list[Block] = Field(default=[], description="a list of blocks")


class Key(NamedTuple):
    """One key of the file, by its dotted path, and what its value must be.

    ``expected`` is empty where the words come with the :class:`jobs.spec.SpecError` of the field.
    """

    path: str
    expected: str
    listed: bool = False
    """Whether its value may be a list of values."""

    @property
    def parent(self) -> str:
        """The dotted path of the block that holds the key; empty at the top level."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key as it stands in its block."""
        return self.path.rpartition(".")[2]


_RANGES: dict[str, type[BaseModel]] = {
    "eta.values": RangeKeys,
    "eta.refine": RefineKeys,
    "problem.seed": RepeatKeys,
    "start": StartKeys,
}
"""Keys with a list, or nothing, or with a block of keys of its own."""


def _keys_of(model: type[BaseModel], parent: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = parent + (field.alias or name)
        inner: Any = _RANGES.get(path, field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names = ", ".join(each.alias or name for name, each in inner.model_fields.items())
            listed = _is_listed(field.annotation)
            yield Key(path, field.description or f"a block with the keys {names}", listed)
            yield from _keys_of(inner, path + ".")
        else:
            yield Key(path, field.description or "", _is_listed(field.annotation))


def _is_listed(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_is_listed, get_args(annotation)))


KEYS = {key.path: key for key in _keys_of(File)}
"""Every key that a sweep file may have, by its dotted path; blocks of ``grids`` have the same."""

OF_FILES = [Key("base", "the name of a sweep file"), Key("unite", "a list of sweep files")]
"""Keys of a file that name others; the command line has them not."""

A_MATCH = Key("match", "a block of keys of the problem, such as {problem.loss: [mse, ce]}")
A_CONDITION = Key(
    "when", "a block with a match and what is different for it, such as stop: {epsilon: 0.05}"
)
