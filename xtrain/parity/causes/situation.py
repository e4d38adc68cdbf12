"""One training step that went apart, and what the reference gives where something in it is otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xtrain import data
from xtrain.parity import probe
from xtrain.parity.bench import Bench
from xtrain.parity.walk import part
from xtrain.protocols import Backend
from xtrain.recipe import Job
from xtrain.spec import Draws, Layer, LossSpec, ModelSpec, Node, OptimizerSpec, State, StepInput
from xtrain.training import assembly

Array = NDArray[Any]
T = TypeVar("T")


class Situation:
    """A step as the leader found it.

    Args:
        reference: the backend that predicts.
        job: what the run is about.
        arrays: its data.
        number: the step.
        leader: `weights/...`, `moments/...`, `inputs/...`, `gradients/...` of the step.
        right: what the leader observed, by phase and name.

    """

    def __init__(
        self,
        reference: Backend,
        job: Job,
        arrays: data.Arrays,
        number: int,
        leader: State,
        right: State,
    ) -> None:
        self._reference, self._arrays = reference, arrays
        self.job, self.recipe, self.model = job, job.recipe, job.model
        self.number, self.leader, self.right = number, leader, right
        self.bench = Bench(reference, job, arrays)
        self.step = self.bench.step(number, probe.SAMPLES)
        self.optimizer = job.recipe.optimizer
        self.weights, self.moments = part(leader, "weights"), part(leader, "moments")
        self.gradients = part(leader, "gradients")
        self._found: dict[Any, Any] = {}
        self.nodes = {node.path: node for node in job.model.walk()}

    def once(self, change: Callable[["Situation"], T]) -> T:
        """What a change gives: computed for the first of the tensors that ask for it."""
        if change not in self._found:
            self._found[change] = change(self)
        found: T = self._found[change]
        return found

    def output(
        self,
        node: Node,
        training: bool,
        layer: Layer | None = None,
        tensors: Mapping[str, Array] | None = None,
        x: Array | None = None,
    ) -> Array:
        """Of one layer alone, fed what the leader fed it, with another layer, tensors or input if given."""
        mode = "train" if training else "eval"
        one = ModelSpec("one", node.input_shape, (replace(layer or node.layer, name="one"),))
        model = self._reference.model(one)
        own = {name.removeprefix(f"{node.path}."): self.weights[name] for name in node.tensors}
        model.load({f"one.{name}": value for name, value in (own | dict(tensors or {})).items()})
        dropouts = self.model.dropouts
        keys = (self.step.dropout_keys[dropouts.index(node.path)],) if node.path in dropouts else ()
        fed = self.leader[f"inputs/{mode}/{node.path}"] if x is None else x
        return model.trace(fed, replace(self.step, dropout_keys=keys) if training else None)["one"]

    def updated(
        self,
        optimizer: OptimizerSpec | None = None,
        moments: State | None = None,
        gradients: State | None = None,
        step: StepInput | None = None,
    ) -> State:
        """Weights and moments after the update, by their names, with something in it otherwise."""
        model = self._reference.model(self.model)
        model.load(self.weights)
        lowered = self._reference.optimizer(optimizer or self.optimizer, model)
        lowered.load(lowered.state() | (moments or self.moments))
        lowered.step(gradients or self.gradients, step or self.step)
        after = model.state()
        return {**lowered.state(), **{name: after[name] for name in self.model.trainable}}

    def under(self, loss: LossSpec) -> tuple[State, dict[str, float]]:
        """Gradients, and the loss in training and in evaluation, under another loss."""
        other = replace(self.job, recipe=replace(self.recipe, loss=loss))
        bench = Bench(self._reference, other, self._arrays)
        step = bench.step(self.number, probe.SAMPLES)
        batch, loop = bench.batch(self.number, probe.SAMPLES, 0), bench.parts.loop
        bench.reset(self.weights, self.moments)
        gradients = loop.gradients(batch, step)
        bench.reset(self.weights, self.moments)
        found = loop.read([loop.eval_step(batch), loop.train_step([batch], step)])
        weight = bench.weight(self.number, probe.SAMPLES)
        means = [metrics.loss_sum / weight for metrics in found]
        return gradients, dict(zip(("eval", "train"), means, strict=True))

    def unaugmented(self) -> Array:
        """The step's images as they are without what is drawn."""
        section = self.recipe.data
        plain = replace(section, augment=tuple(step for step in section.augment if not step.words))
        other = replace(self.job, recipe=replace(self.recipe, data=plain))
        train, _, _ = assembly.splits(other, self._arrays)
        dataset = self._reference.dataset(train)
        draws = self.bench.draws(self.number)
        first = Draws((draws.batches[0][: probe.SAMPLES],))
        return dataset.read(next(dataset.batches(first)))[0]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the samples that were observed."""
        return self.right["data/labels"]

    @property
    def weight(self) -> float:
        """Of these samples: what the mean loss divides by."""
        return self.job.weight(self.labels)


Predict = Callable[[Situation, str], Array | None]
"""What the tensor of a name (without its phase) would be; None where the cause does not apply."""


@dataclass(frozen=True)
class Cause:
    """A known difference: what it is called, and what would then be observed."""

    name: str
    predict: Predict
