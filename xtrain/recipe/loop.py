"""The `[loop]` section."""

import re
from typing import Annotated

from pydantic import AfterValidator

from xtrain.spec.base import Count, frozen


def _interval(every: int | str) -> int | str:
    if (every >= 1) if isinstance(every, int) else re.fullmatch(r"[1-9]\d* epochs?", every):
        return every
    raise ValueError('give a number of steps, or "N epochs"')


@frozen
class Loop:
    """How long, and how often something is said or kept. `checkpoint_every`: steps, or `"N epochs"`."""

    epochs: Count
    log_every: Count = 100
    checkpoint_every: Annotated[int | str, AfterValidator(_interval)] = "1 epoch"

    def checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """True where a checkpoint belongs after `step` of `epoch` (both counted from 1)."""
        if isinstance(self.checkpoint_every, int):
            return step % self.checkpoint_every == 0
        return epoch_ends and epoch % int(self.checkpoint_every.split()[0]) == 0
