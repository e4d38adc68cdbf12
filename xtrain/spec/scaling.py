"""Loss scaling: what keeps float16's small gradients from becoming zero."""

import numpy as np

from xtrain.spec.run import State

_FIRST, _LONG = 2.0**16, 2000  # torch.amp.GradScaler's own


class LossScale:
    """As torch.amp.GradScaler: twice the scale after 2,000 finite steps, half after one that is not."""

    def __init__(self) -> None:
        self.scale = _FIRST
        self._finite_steps = 0

    def move(self, finite: bool) -> None:
        """Follow a step whose gradients were all finite, or were not."""
        self._finite_steps = self._finite_steps + 1 if finite else 0
        if not finite:
            self.scale /= 2
        elif self._finite_steps == _LONG:
            self.scale, self._finite_steps = 2 * self.scale, 0

    def state(self) -> State:
        """What a resumed run goes on from."""
        return {
            "loss_scale": np.array(self.scale, dtype=np.float32),
            "finite_steps": np.array(self._finite_steps, dtype=np.int64),
        }

    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self.scale, self._finite_steps = float(state["loss_scale"]), int(state["finite_steps"])
