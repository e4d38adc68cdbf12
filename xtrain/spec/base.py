"""The one way frozen values are declared: keyword-only, strict, refused at construction."""

import re
from typing import Annotated, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import AfterValidator, ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass

CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose fields are checked when it is made."""
    return cast(type[T], dataclass(frozen=True, kw_only=True, config=CONFIG)(cls))


Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
# TOML has arrays, not tuples: the array itself may be a list, its elements stay strict.
Counts = Annotated[tuple[Count, ...], Strict(False)]
Floats = Annotated[tuple[float, ...], Strict(False)]


def _interval(every: int | str) -> int | str:
    if (every >= 1) if isinstance(every, int) else re.fullmatch(r"[1-9]\d* epochs?", every):
        return every
    raise ValueError('give a number of steps, or "N epochs"')


Interval = Annotated[int | str, AfterValidator(_interval)]
"""Steps, or `"N epochs"`."""


def epochs_of(interval: Interval) -> int | None:
    """N of `"N epochs"`; None where the interval counts steps."""
    return int(interval.split()[0]) if isinstance(interval, str) else None


ValidationError = pydantic.ValidationError
