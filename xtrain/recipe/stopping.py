"""When to stop before the last epoch."""

from xtrain.recipe.watch import Metric, Mode, Watch, mode_of
from xtrain.spec.base import Count, NonNegative, frozen


@frozen
class EarlyStopping:
    """Stop once `monitor` has not got better for `patience` epochs in a row.

    Args:
        monitor: a figure of an epoch; by default the loss on the validation split, else on the test split.
        patience: epochs without a gain after which the run ends.
        min_delta: a gain has to be larger than this.
        mode: `min` or `max`; by default what suits the figure.
        restore_best: end with the weights of the best checkpoint instead of the last.

    """

    monitor: Metric | None = None
    patience: Count = 10
    min_delta: NonNegative = 0.0
    mode: Mode | None = None
    restore_best: bool = False

    def update(self, watch: Watch, figures: dict[str, float]) -> None:
        """Take in the figures of an epoch."""
        assert self.monitor is not None  # a recipe's defaults are explicit
        watch.update(figures[self.monitor], self.mode or mode_of(self.monitor), self.min_delta)

    def over(self, watch: Watch) -> bool:
        """True where the run should end."""
        return watch.waited >= self.patience
