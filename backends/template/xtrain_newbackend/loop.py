"""Training and evaluation steps."""

from collections.abc import Sequence
from typing import Any

from xtrain.spec import LossSpec, Metrics, State, StepInput

from xtrain_newbackend.losses import LOSSES
from xtrain_newbackend.model import NewBackendModel
from xtrain_newbackend.optimizer import NewBackendOptimizer
from xtrain_newbackend.unwritten import unwritten


class NewBackendLoop:
    """Nothing here waits for the device but `read`, and nothing is compiled anew from step to step."""

    def __init__(self, model: NewBackendModel, loss: LossSpec, optimizer: NewBackendOptimizer) -> None:
        self._model, self._optimizer = model, optimizer
        self._loss_sum = LOSSES.of(loss)  # refuses what has no lowering
        raise unwritten("loop.py")

    def train_step(self, batches: Sequence[Any], step: StepInput) -> Any:
        """One update: for each batch backward from `step.share` times its summed loss, then the optimizer."""
        raise unwritten("Loop.train_step")

    def eval_step(self, batch: Any) -> Any:
        """Loss and correct predictions in evaluation mode; nothing of the model changes."""
        raise unwritten("Loop.eval_step")

    def read(self, handles: Sequence[Any]) -> list[Metrics]:
        """Summed loss and correct predictions of each step; `metrics` of `xtrain.spec` adds them up."""
        raise unwritten("Loop.read")

    def gradients(self, batch: Any, step: StepInput) -> State:
        """Gradient of `step.share` times the summed loss by each parameter, in PyTorch's layout."""
        raise unwritten("Loop.gradients")
