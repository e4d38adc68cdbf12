"""Where a training stands, in a line."""

from xtrain.training.observers import Start, TrainRecord
from xtrain.training.observers.rate import Rate


class Standing:
    """Epoch, step, loss, rate and time left of a session that goes on.

    Args:
        start: what is about to happen.

    """

    def __init__(self, start: Start) -> None:
        self.steps, self.at = start.job.steps, start.step
        self._epochs, self._per_epoch = start.job.recipe.loop.epochs, start.job.steps_per_epoch
        self._loss, self._rate = "-", Rate()

    def step(self, step: int, samples: int) -> None:
        """A step with so many images is done."""
        self.at = step
        self._rate.add(samples)

    def train(self, record: TrainRecord) -> None:
        """The loss is known."""
        self._loss = f"{record.loss:.4f}"

    def __str__(self) -> str:
        """`epoch 1/2, step 23, loss 0.2000, 1,234 images/s, 1:08 left`."""
        epoch = min(max(self.at - 1, 0) // self._per_epoch + 1, self._epochs)
        left = self._rate.left(self.steps - self.at)
        return (
            f"epoch {epoch}/{self._epochs}, step {self.at}, loss {self._loss}, "
            f"{self._rate} images/s, {left} left"
        )
