"""Loss scaling on the device."""

import torch
from torch import Tensor

from xtrain.spec import LossScale


class LossScaling(LossScale):
    """GradScaler itself wants an optimizer of torch.optim. Like it, this waits for the device once a step."""

    def undo(self, gradients: list[Tensor]) -> bool:
        """Divide gradients by the scale; False where one is not finite, and no update should be made."""
        torch._foreach_mul_(gradients, 1 / self.scale)  # a power of two: no digit is lost
        largest = torch._foreach_norm(gradients, float("inf"))
        finite = bool(torch.isfinite(torch.stack(largest)).all())
        self.move(finite)
        return finite
