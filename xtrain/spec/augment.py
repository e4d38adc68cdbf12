"""What may be done to the pixels of a batch, as values; semantics are torchvision's."""

from typing import Annotated, Literal

from pydantic import Field

from xtrain.spec.base import Count, NonNegativeInt, frozen


@frozen
class RandomCrop:
    """Pads all four sides with zeros (before normalisation) and cuts a square at a drawn place."""

    op: Literal["random_crop"] = "random_crop"
    size: Count
    padding: NonNegativeInt = 0


@frozen
class RandomHorizontalFlip:
    """Mirrors left to right with probability `p`."""

    op: Literal["random_horizontal_flip"] = "random_horizontal_flip"
    p: Annotated[float, Field(ge=0, le=1)] = 0.5


Augment = Annotated[RandomCrop | RandomHorizontalFlip, Field(discriminator="op")]
