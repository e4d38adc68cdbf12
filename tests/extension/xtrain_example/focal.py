"""A loss: cross entropy that counts well-classified samples less (T.-Y. Lin et al., 2017)."""

from typing import Literal

from xtrain.extend import Loss, NonNegative, frozen


@frozen
class Focal(Loss):
    """-(1 - p)^gamma log p, of the probability p that the model gives to a sample's class."""

    name: Literal["focal"] = "focal"
    gamma: NonNegative = 2.0
