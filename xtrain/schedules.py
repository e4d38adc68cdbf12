"""Learning rate by step: schedules as values, each a function of the epochs that have passed."""

from typing import Annotated, Literal

from pydantic import Field

from xtrain.spec.base import Counts, Positive, frozen


@frozen
class Constant:
    """The optimizer's lr throughout."""

    name: Literal["constant"] = "constant"

    def factor(self, epoch: int) -> float:
        """What the optimizer's lr is multiplied by in an epoch (counted from 1)."""
        return 1.0


@frozen
class MultiStep:
    """lr * gamma ** (milestones passed); milestones count finished epochs, as in torch's MultiStepLR."""

    name: Literal["multistep"] = "multistep"
    milestones: Counts
    gamma: Positive = 0.1

    def factor(self, epoch: int) -> float:
        """What the optimizer's lr is multiplied by in an epoch (counted from 1)."""
        return self.gamma ** sum(milestone < epoch for milestone in self.milestones)


Schedule = Annotated[Constant | MultiStep, Field(discriminator="name")]
