"""The `[loop]` section."""

from typing import Literal

from xtrain.recipe.watch import Metric
from xtrain.spec import Precision
from xtrain.spec.base import Count, Interval, epochs_of, frozen


@frozen
class Loop:
    """How long, and how often something is said or kept.

    Args:
        epochs: how many.
        accumulate: batches whose gradients make one step.
        log_every: steps between two train records.
        checkpoint_every: steps, or `"N epochs"`; the best epoch and the end of a run are kept besides.
        keep_last: how many checkpoints stay, next to the best; or `"all"`.
        monitor: what `best` goes by; by default the accuracy on the validation split, else on the test split.
        precision: what matrix products and convolutions are computed in, where the device has it; `tf32`,
            `bf16` and `fp16` (its losses scaled) are quicker, and not the same numbers.

    """

    epochs: Count
    accumulate: Count = 1
    log_every: Count = 100
    checkpoint_every: Interval = "1 epoch"
    keep_last: Count | Literal["all"] = 2
    monitor: Metric | None = None
    precision: Precision = "float32"

    @property
    def kept(self) -> int | None:
        """How many checkpoints stay; None for all."""
        return None if self.keep_last == "all" else self.keep_last

    def checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """True where a checkpoint belongs after `step` of `epoch` (both counted from 1)."""
        epochs = epochs_of(self.checkpoint_every)
        if epochs is None:
            return step % int(self.checkpoint_every) == 0
        return epoch_ends and epoch % epochs == 0
