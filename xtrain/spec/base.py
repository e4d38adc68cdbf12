"""The one way frozen values are declared: keyword-only, strict, refused at construction."""

import re
from typing import Annotated, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import AfterValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic.dataclasses import dataclass

CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass whose fields are checked when it is made."""
    return cast(type[T], dataclass(frozen=True, kw_only=True, config=CONFIG)(cls))


LARGEST = 2**31 - 1
"""Every whole number but a seed is at most this: frameworks take sizes as 32-bit integers."""
LARGEST_SIDE = 2**13
"""Pixels: no augmentation makes an image higher or wider, because 2**26 pixels are no training image."""
DEEPEST = 1000
"""Layers that one number can ask for; each is a part with tensors of its own, also where these are tiny."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST)]
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Depth = Annotated[int, Field(ge=1, le=DEEPEST)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
# TOML has arrays, not tuples: the array itself may be a list, its elements stay strict.
Counts = Annotated[tuple[Count, ...], Strict(False)]


def _interval(every: int | str) -> int | str:
    written = re.fullmatch(r"([1-9][0-9]{0,9}) epochs?", every) if isinstance(every, str) else None
    number = int(written[1]) if written else every
    if isinstance(number, int) and 1 <= number <= LARGEST:
        return every
    raise ValueError(f'give a number of steps, or "N epochs", from 1 to {LARGEST}')


_INTERVALS = [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[1-9][0-9]{0,9} epochs?$"}]
Interval = Annotated[int | str, AfterValidator(_interval), WithJsonSchema({"anyOf": _INTERVALS})]
"""Steps, or `"N epochs"`."""


def epochs_of(interval: Interval) -> int | None:
    """N of `"N epochs"`; None where the interval counts steps."""
    return int(interval.split()[0]) if isinstance(interval, str) else None


ValidationError = pydantic.ValidationError
