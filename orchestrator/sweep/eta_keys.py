"""The keys of the learning rates in a sweep file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobs.spec import SpecError, positive
from orchestrator.sweep.problem_keys import FORMS, TOO_LARGE, Keys, is_whole, refuse_too_large
from orchestrator.sweep.spacing import geometric, linear

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

    @property
    def multiples(self) -> tuple[float, ...]:
        """The multiples of ``unit`` that ``values`` stands for."""
        if isinstance(self.values, RangeKeys):
            return self.values.geometric or self.values.linear or ()
        return self.values


class SomeEtaKeys(EtaKeys):
    """What a condition changes of the learning rates."""

    values: Values = ()


def _rate(field: str, value: object) -> float:
    refuse_too_large(field, value)
    return positive(field, value)
