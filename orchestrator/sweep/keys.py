"""The keys of a problem and of the learning rates in a sweep file, and what their values become."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Annotated, Any, Literal

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

from jobs.spec import GD, Optimizer, Problem, SpecError, StateName, positive
from orchestrator.sweep.grid import EtaGrid, GridStart, Refine
from orchestrator.sweep.rules import OF_OPTIMIZER, Axis, Match, is_of_optimizer, key_of

FORMS = ("<list>", "<range>")
"""How a value may be written that is a list or is made from a block of keys."""

TOO_LARGE = 2**63
"""Whole numbers are stored in tables as 64-bit integers."""

MOST_SEEDS = 1_000_000

MOST_REFINED = 1_000
"""Further rates of a column, for which each has room from the beginning."""

_ANY_PROBLEM = {"dataset": "any", "n_train": 1, "parameterization": "ntk", "base_width": 8}
"""A problem in which every field has a meaning."""


class Keys(BaseModel):
    """A block of keys: each of the right type, and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class RepeatKeys(Keys):
    """Consecutive seeds: ``repeat`` of them, the first being ``from``."""

    repeat: int = Field(
        ge=1, le=MOST_SEEDS, description=f"a whole number of at least 1, at most {MOST_SEEDS}"
    )
    first: int = Field(
        default=0,
        ge=0,
        lt=TOO_LARGE,
        alias="from",
        description="a whole number of at least 0, the first seed",
    )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in order."""
        return tuple(range(self.first, self.first + self.repeat))


class ProblemKeys(Keys):
    """Every field of :class:`jobs.spec.Problem`, each as the tuple of its axis.

    None is the default of the architecture or dataset.
    """

    dataset: tuple[str, ...] = Field(description="the name of a dataset")
    n_train: tuple[int, ...] = Field(description="a whole number of at least 1")
    subset: tuple[str, ...] = (Problem.subset,)
    normalization: tuple[str | None, ...] = (Problem.normalization,)
    architecture: tuple[str, ...] = (Problem.architecture,)
    width: tuple[int | None, ...] = (Problem.width,)
    depth: tuple[int | None, ...] = (Problem.depth,)
    activation: tuple[str | None, ...] = (Problem.activation,)
    loss: tuple[str, ...] = (Problem.loss,)
    weight_decay: tuple[float | None, ...] = (Problem.weight_decay,)
    parameterization: tuple[str, ...] = (Problem.parameterization,)
    base_width: tuple[int | None, ...] = (Problem.base_width,)
    init_scale: tuple[float, ...] = (Problem.init_scale,)
    seed: Annotated[
        Annotated[tuple[int | None, ...], Tag(FORMS[0])] | Annotated[RepeatKeys, Tag(FORMS[1])],
        Discriminator(lambda value: FORMS[isinstance(value, dict)]),
    ] = (Problem.seed,)
    dtype: tuple[str, ...] = (Problem.dtype,)

    @field_validator("*", mode="before")
    @classmethod
    def _as_axis(cls, value: object, info: ValidationInfo) -> object:
        field = str(info.field_name)
        if field == "seed" and isinstance(value, dict):
            return value
        optional = Problem.__dataclass_fields__[field].default is None
        return _values(field, value, or_none=optional)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The values of each field; those that advance with others may come more than once."""
        return tuple(
            Axis(field=field, values=v.seeds if isinstance(v, RepeatKeys) else v)
            for field, v in self
        )

    @property
    def said(self) -> frozenset[str]:
        """The fields that the file names."""
        return frozenset(self.model_fields_set)


class SomeProblemKeys(ProblemKeys):
    """What a condition changes of a problem."""

    dataset: tuple[str, ...] = ()
    n_train: tuple[int, ...] = ()


class OptimizerKeys(Keys):
    """Every field of :class:`jobs.spec.Optimizer`, each as the tuple of its axis.

    None is the default of the optimiser.
    """

    name: tuple[str, ...] = Field(default=(GD.name,))
    momentum: tuple[float | None, ...] = (None,)
    beta2: tuple[float | None, ...] = (None,)
    damping: tuple[float | None, ...] = (None,)

    @field_validator("*", mode="before")
    @classmethod
    def _as_axis(cls, value: object, info: ValidationInfo) -> object:
        field = str(info.field_name)
        return _values(OF_OPTIMIZER + field, value, or_none=field != "name")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The values of each field."""
        return tuple(Axis(field=OF_OPTIMIZER + field, values=values) for field, values in self)

    @property
    def said(self) -> frozenset[str]:
        """The fields of axes that the file names."""
        return frozenset(OF_OPTIMIZER + field for field in self.model_fields_set)


def _axis_field(field: str) -> str:
    """The field of an axis, of a field of :class:`MatchKeys`."""
    return field.replace("optimizer_", OF_OPTIMIZER, 1)


class StartKeys(Keys):
    """Where trials begin: at states of the GD trials of another grid, on the same problem."""

    from_: str = Field(alias="from", description="the label of another grid of the sweep file")
    epsilon: tuple[float, ...] = Field(
        default=(), description="a loss threshold of that grid, or a list of them"
    )
    step: tuple[int, ...] = Field(default=(), description="a number of steps, or a list of them")
    chi: tuple[float, ...] = Field(
        default=(), description="a value of χ, which is 1 at the edge of stability, or a list"
    )
    average: tuple[int, ...] = Field(
        default=(1,), description="of how many iterates the mean is taken, or a list of numbers"
    )

    @field_validator("epsilon", "step", "chi", "average", mode="before")
    @classmethod
    def _each(cls, value: object, info: ValidationInfo) -> object:
        field = str(info.field_name)
        if value == [] or value is None:
            raise SpecError(field, value, "a value or a list of at least one")
        listed = value if isinstance(value, list) else [value]
        for one in listed:
            refuse_too_large(field, one)
            named: dict[str, Any] = {field: one}
            StateName(**({"step": 0, **named} if field == "average" else named))
        return tuple(dict.fromkeys(listed))

    @model_validator(mode="after")
    def _says_where(self) -> StartKeys:
        if sum(map(bool, (self.epsilon, self.step, self.chi))) != 1:
            raise ValueError("exactly one of epsilon, step and chi")
        return self

    @property
    def value(self) -> GridStart:
        """The start as a value."""
        given: dict[str, Any] = {"epsilon": self.epsilon, "step": self.step, "chi": self.chi}
        ((kind, places),) = ((kind, its) for kind, its in given.items() if its)
        return GridStart(
            self.from_,
            tuple(
                StateName(**{kind: place, "average": average})
                for place in places
                for average in self.average
            ),
        )


class MatchKeys(SomeProblemKeys):
    """Some keys of a problem or an optimiser, such as ``problem.loss``, with a value or several.

    None matches a problem, or an optimiser, that has no use for the field.
    """

    model_config = ConfigDict(alias_generator=lambda field: key_of(_axis_field(field)))

    optimizer_name: tuple[str, ...] = ()
    optimizer_momentum: tuple[float | None, ...] = ()
    optimizer_beta2: tuple[float | None, ...] = ()
    optimizer_damping: tuple[float | None, ...] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _as_axis(cls, value: object, info: ValidationInfo) -> object:
        field = _axis_field(str(info.field_name))
        return distinct(_values(field, value, or_none=field in _NOT_EVERYWHERE))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The values of each field."""
        return tuple(
            Axis(field=_axis_field(axis.field), values=axis.values) for axis in super().axes
        )

    @property
    def said(self) -> frozenset[str]:
        """The fields of axes that the match names."""
        return frozenset(map(_axis_field, self.model_fields_set))

    @model_validator(mode="after")
    def _says_something(self) -> MatchKeys:
        if not self.said:
            raise ValueError("no key")
        return self

    @property
    def value(self) -> Match:
        """The match as a value."""
        return Match(fields=tuple(axis for axis in self.axes if axis.field in self.said))


_NOT_EVERYWHERE = (
    *("width", "depth", "activation", "weight_decay", "base_width", "seed"),
    *(OF_OPTIMIZER + field for field in ("momentum", "beta2", "damping")),
)
"""Fields that some architectures, parameterizations or optimisers have no use for."""


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, each once."""
    return tuple(dict.fromkeys(values))


def is_whole(value: object, most: int) -> bool:
    """Whether a value is a whole number from 1 to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def refuse_too_large(field: str, value: object) -> None:
    """Make sure that a whole number can be stored.

    Raises:
        SpecError: it is too large.
    """
    if isinstance(value, int) and abs(value) >= TOO_LARGE:
        raise SpecError(field, value, "a number below 2**63")


def _values(field: str, value: object, *, or_none: bool) -> tuple[object, ...]:
    """A value or a list of them, each as :class:`jobs.spec.Problem` has it, or the optimiser."""
    if value == []:
        raise SpecError(field, value, "a value or a list of at least one")
    return tuple(
        _accepted(field, item, or_none=or_none)
        for item in (value if isinstance(value, list) else [value])
    )


def _accepted(field: str, item: object, *, or_none: bool) -> object:
    refuse_too_large(field, item)
    if item is None and or_none:
        return None
    if is_of_optimizer(field):
        name = field.removeprefix(OF_OPTIMIZER)
        chosen: dict[str, Any] = {"name": "adam", name: item}
        return getattr(Optimizer(**chosen), name)
    named: dict[str, Any] = {**_ANY_PROBLEM, field: item}
    if field == "base_width":
        named["width"] = 2 if item == 1 else 1  # at that width it would be of no use
    return getattr(Problem(**named), field)


MOST_RATES = 100_000

_A_RATE_LIST = (
    "a list of finite numbers above 0, {geometric: [low, high, count]} "
    "or {linear: [low, high, count]}"
)
_A_RANGE = (
    "[low, high, count] with finite 0 < low < high and a whole count of at least 2, "
    f"at most {MOST_RATES}, or low = high and count 1"
)


class RangeKeys(Keys):
    """Learning rates by their ends and their count; exactly one of the two keys."""

    geometric: tuple[float, ...] | None = Field(default=None, description=_A_RANGE)
    linear: tuple[float, ...] | None = Field(default=None, description=_A_RANGE)

    @field_validator("*", mode="before")
    @classmethod
    def _expanded(cls, value: object, info: ValidationInfo) -> tuple[float, ...]:
        field = str(info.field_name)
        if not (isinstance(value, list) and len(value) == 3 and is_whole(value[2], MOST_RATES)):
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
    if len(value) > MOST_RATES:
        raise SpecError("values", value, f"a list of at most {MOST_RATES} learning rates")
    return tuple(_rate("values", rate) for rate in value)


Values = Annotated[
    Annotated[tuple[float, ...], BeforeValidator(_rate_list), Tag(FORMS[0])]
    | Annotated[RangeKeys, Tag(FORMS[1])],
    Discriminator(lambda value: FORMS[isinstance(value, dict)]),
]


_A_PRECISION = "a number above 0, relative to η, or null to ask for nothing"


class RefineKeys(Keys):
    """To what precision the rates of a column refine themselves."""

    kink: float | None = Field(default=Refine.kink, gt=0, description=_A_PRECISION)
    divergence: float | None = Field(default=Refine.divergence, gt=0, description=_A_PRECISION)
    valley: float | None = Field(default=Refine.valley, gt=0, description=_A_PRECISION)
    most: int = Field(
        default=Refine.most,
        ge=1,
        le=MOST_REFINED,
        description=f"a whole number from 1 to {MOST_REFINED}",
    )

    @property
    def value(self) -> Refine:
        """The precision as a value."""
        return Refine(**self.model_dump())


class EtaKeys(Keys):
    """The learning rates of every column, in units of η_c or as they are."""

    unit: Literal["eta_c", "init_sharpness", "absolute"] = Field(
        default="eta_c", description="one of eta_c, init_sharpness, absolute"
    )
    values: Values = Field(description=_A_RATE_LIST)
    stop_after_divergences: int | None = Field(
        default=2,
        ge=1,
        lt=TOO_LARGE,
        description="a whole number of at least 1, or null to try every learning rate",
    )
    refine: RefineKeys | None = Field(
        default=None,
        description="null, or a block with kink, divergence, valley and most, such as "
        "{kink: 0.01, most: 40}",
    )

    @property
    def multiples(self) -> tuple[float, ...]:
        """The multiples of ``unit`` that ``values`` stands for."""
        if isinstance(self.values, RangeKeys):
            return self.values.geometric or self.values.linear or ()
        return self.values

    @property
    def value(self) -> EtaGrid:
        """The rates as a value."""
        refine = None if self.refine is None else self.refine.value
        return EtaGrid(unit=self.unit, multiples=self.multiples, refine=refine)


class SomeEtaKeys(EtaKeys):
    """What a condition changes of the learning rates."""

    values: Values = ()


def _rate(field: str, value: object) -> float:
    refuse_too_large(field, value)
    return positive(field, value)


def geometric(low: float, high: float, count: int) -> tuple[float, ...]:
    """``count`` rates from ``low`` to ``high``, both exact, with a constant ratio between them.

    Rates between the ends are rounded to 15 significant digits, so that the last bit of a
    machine's power function does not give the same trial another name elsewhere.

    Raises:
        ValueError: the numbers are not ``0 < low < high``, or ``low == high`` with a count of 1.
    """
    return _spread(low, high, count, lambda share: low ** (1 - share) * high**share)


def linear(low: float, high: float, count: int) -> tuple[float, ...]:
    """``count`` rates from ``low`` to ``high``, both exact, with a constant difference.

    Rounded like :func:`geometric`.

    Raises:
        ValueError: the numbers are not ``0 < low < high``, or ``low == high`` with a count of 1.
    """
    return _spread(low, high, count, lambda share: low + (high - low) * share)


def _spread(low: float, high: float, count: int, at: Callable[[float], float]) -> tuple[float, ...]:
    if count == 1 and 0 < low == high:
        return (low,)
    if count < 2 or not 0 < low < high:
        raise ValueError(f"no {count} rates lie evenly from {low} to {high}")
    between = (float(f"{at(i / (count - 1)):.15g}") for i in range(1, count - 1))
    # Ends a few bits apart lie closer than the roundings between them: none may go back.
    rising = accumulate((min(max(rate, low), high) for rate in between), max)
    return (low, *rising, high)
