"""A lowered optimizer: penalties, clipping, the update, the average of the weights."""

from typing import Any

from xtrain.spec import OptimizerBase, OptimizerSpec, State, StepInput

from xtrain_newbackend.model import NewBackendModel
from xtrain_newbackend.unwritten import unwritten
from xtrain_newbackend.updates import UPDATES


class NewBackendOptimizer(OptimizerBase[Any]):
    """`OptimizerBase` has the buffers, zeros at first, and their state."""

    def __init__(self, spec: OptimizerSpec, model: NewBackendModel) -> None:
        self._update = UPDATES.of(spec)  # refuses what has no lowering
        super().__init__(spec, model, zeros=lambda name, parameter: unwritten("zeros of an optimizer"))
        raise unwritten("optimizer.py")

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients; `self._advance(step)` gives lr and other scalars."""
        raise unwritten("Optimizer.step")
