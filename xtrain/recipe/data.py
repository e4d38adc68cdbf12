"""The `[data]` section."""

from typing import Annotated

from pydantic import Field, Strict

from xtrain.spec import Augment
from xtrain.spec.base import Count, Floats, frozen


@frozen
class Normalize:
    """Mean and standard deviation of each channel, for pixels between 0 and 1."""

    mean: Floats
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Strict(False)]


@frozen
class Data:
    """What is trained on, and in which batches. Without `normalize` the data set's own figures hold."""

    name: str
    batch_size: Count
    eval_batch_size: Count = 256
    augment: Annotated[tuple[Augment, ...], Strict(False)] = ()
    normalize: Normalize | None = None
    drop_last: bool = False
