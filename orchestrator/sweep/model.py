"""The keys of a sweep file: their types, their defaults and what each value must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobs.spec import FLOW_METHODS, Problem, Protocol, SpecError, positive
from orchestrator.sweep.spacing import geometric, linear

MOST_RATES = 100_000
VALUE_FORMS = ("<list>", "<range>")
_TOO_LARGE = 2**63  # whole numbers are stored in tables as 64-bit integers

_A_RATE_LIST = (
    "a list of finite numbers above 0, {geometric: [low, high, count]} "
    "or {linear: [low, high, count]}"
)
_A_RANGE = (
    "[low, high, count] with finite 0 < low < high and a whole count of at least 2, "
    f"at most {MOST_RATES}, or low = high and count 1"
)


class _Keys(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


_ANY_PROBLEM = {"dataset": "any", "n_train": 1, "parameterization": "ntk", "base_width": 1}
"""A problem in which every field has a meaning."""


class ProblemKeys(_Keys):
    """Every field of :class:`jobs.spec.Problem`, each as the tuple of its axis."""

    dataset: tuple[str, ...] = Field(description="the name of a dataset")
    n_train: tuple[int, ...] = Field(description="a whole number of at least 1")
    subset: tuple[str, ...] = (Problem.subset,)
    normalization: tuple[str | None, ...] = (Problem.normalization,)
    architecture: tuple[str, ...] = (Problem.architecture,)
    width: tuple[int | None, ...] = (Problem.width,)
    depth: tuple[int | None, ...] = (Problem.depth,)
    activation: tuple[str | None, ...] = (Problem.activation,)
    loss: tuple[str, ...] = (Problem.loss,)
    parameterization: tuple[str, ...] = (Problem.parameterization,)
    base_width: tuple[int | None, ...] = (Problem.base_width,)
    init_scale: tuple[float, ...] = (Problem.init_scale,)
    seed: tuple[int, ...] = (Problem.seed,)
    dtype: tuple[str, ...] = (Problem.dtype,)

    @field_validator("*", mode="before")
    @classmethod
    def _as_axis(cls, value: object, info: ValidationInfo) -> tuple[object, ...]:
        if value == []:
            raise SpecError(str(info.field_name), value, "a value or a list of at least one")
        accepted: dict[object, None] = {}
        for item in value if isinstance(value, list) else [value]:
            _refuse_too_large(str(info.field_name), item)
            if item is None and Problem.__dataclass_fields__[str(info.field_name)].default is None:
                accepted[None] = None
                continue
            named: dict[str, Any] = {**_ANY_PROBLEM, str(info.field_name): item}
            accepted[getattr(Problem(**named), str(info.field_name))] = None
        return tuple(accepted)


class RangeKeys(_Keys):
    """Learning rates by their ends and their count; exactly one of the two keys."""

    geometric: tuple[float, ...] | None = Field(default=None, description=_A_RANGE)
    linear: tuple[float, ...] | None = Field(default=None, description=_A_RANGE)

    @field_validator("*", mode="before")
    @classmethod
    def _expanded(cls, value: object, info: ValidationInfo) -> tuple[float, ...]:
        field = str(info.field_name)
        if not (isinstance(value, list) and len(value) == 3 and _is_whole(value[2], MOST_RATES)):
            raise SpecError(field, value, _A_RANGE)
        low, high = (_rate(field, end) for end in value[:2])
        try:
            return {"geometric": geometric, "linear": linear}[field](low, high, value[2])
        except ValueError:
            raise SpecError(field, value, _A_RANGE) from None

    @model_validator(mode="after")
    def _one_key(self) -> RangeKeys:
        if len(self.model_fields_set) != 1:
            raise ValueError("exactly one of geometric and linear")
        return self


def _rate_list(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise SpecError("values", value, _A_RATE_LIST)
    return tuple(_rate("values", rate) for rate in value)


class EtaKeys(_Keys):
    """The learning rates of every column, in units of η_c or as they are."""

    unit: Literal["eta_c", "absolute"] = Field(default="eta_c", description="eta_c or absolute")
    values: Annotated[
        Annotated[tuple[float, ...], BeforeValidator(_rate_list), Tag(VALUE_FORMS[0])]
        | Annotated[RangeKeys, Tag(VALUE_FORMS[1])],
        Discriminator(lambda value: VALUE_FORMS[isinstance(value, dict)]),
    ] = Field(description=_A_RATE_LIST)
    stop_after_divergences: int | None = Field(
        default=2,
        ge=1,
        lt=_TOO_LARGE,
        description="a whole number of at least 1, or null to try every learning rate",
    )

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that ``values`` stands for."""
        if isinstance(self.values, RangeKeys):
            return self.values.geometric or self.values.linear or ()
        return self.values


class _ProtocolKeys(_Keys):
    """Scalar fields of :class:`jobs.spec.Protocol`, which says what each may be."""

    @field_validator("*", mode="before")
    @classmethod
    def _as_in_protocol(cls, value: object, info: ValidationInfo) -> object:
        _refuse_too_large(str(info.field_name), value)
        if info.field_name == "epsilon":
            listed = tuple(value) if isinstance(value, list) else (value,)
            for threshold in listed:
                _refuse_too_large("epsilon", threshold)
            return Protocol(epsilons=listed).epsilons
        named: dict[str, Any] = {"epsilons": (1.0,), str(info.field_name): value}
        return getattr(Protocol(**named), str(info.field_name))


class StopKeys(_ProtocolKeys):
    """When a trial ends."""

    epsilon: tuple[float, ...] = Field(description="a loss threshold or a list of them")
    max_steps: int = Protocol.max_steps
    divergence_factor: float = Protocol.divergence_factor


class MeasureKeys(_ProtocolKeys):
    """What a trial records on its way, and how exactly."""

    trajectory_every: int = Protocol.trajectory_every
    sharpness_rtol: float = Protocol.sharpness_rtol


class FlowKeys(_Keys):
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


class ResourcesKeys(_Keys):
    """What one trial occupies while it runs."""

    workers: int = Field(default=1, ge=1, lt=_TOO_LARGE, description="a whole number of at least 1")
    gpus_per_worker: int = Field(default=0, ge=0, le=1, description="0 or 1")
    cpus_per_worker: int = Field(
        default=1, ge=1, lt=_TOO_LARGE, description="a whole number of at least 1"
    )
    memory_gib_per_worker: float | None = Field(
        default=None,
        gt=0,
        description="a finite number above 0, or null for a fair share of what there is",
    )


class Block(_Keys):
    """One grid: a file without ``grids``, or one of its blocks on top of the rest."""

    problem: ProblemKeys
    eta: EtaKeys
    stop: StopKeys
    flow: FlowKeys = FlowKeys()
    measure: MeasureKeys = MeasureKeys()
    resources: ResourcesKeys = ResourcesKeys()


class File(Block):
    """A whole sweep file."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
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

    @property
    def parent(self) -> str:
        """The dotted path of the block that holds the key; empty at the top level."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The key as it stands in its block."""
        return self.path.rpartition(".")[2]


def _keys_of(model: type[BaseModel], parent: str = "") -> Iterator[Key]:
    for name, field in model.model_fields.items():
        path = parent + name
        inner = RangeKeys if path == "eta.values" else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names = ", ".join(inner.model_fields)
            yield Key(path, field.description or f"a block with the keys {names}")
            yield from _keys_of(inner, path + ".")
        else:
            yield Key(path, field.description or "")


KEYS = {key.path: key for key in _keys_of(File)}
"""Every key that a sweep file may have, by its dotted path; blocks of ``grids`` have the same."""


def _rate(field: str, value: object) -> float:
    _refuse_too_large(field, value)
    return positive(field, value)


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _refuse_too_large(field: str, value: object) -> None:
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        raise SpecError(field, value, "a number below 2**63")
