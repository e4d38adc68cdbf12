"""What the parts of our backends have in common; each adds what its framework does.

The contract is `xtrain.protocols`: a backend may do without these classes. T is a framework's tensor.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from xtrain.spec.loss import LossSpec
from xtrain.spec.lowering import Lowerings, Term, explain
from xtrain.spec.model import ModelSpec, Node
from xtrain.spec.optimizer import OptimizerSpec
from xtrain.spec.order import trace
from xtrain.spec.rates import Rates, rates
from xtrain.spec.run import Array, Place, Precision, Probe, Split, State, StepInput

T = TypeVar("T")


class BackendBase(ABC):
    """Builds everything lazily: no method but `probe` and the builders imports the framework.

    Each part stands in a file of its own: with "xtrain_torch" as `package` and "Torch" as `prefix`, the
    model is `xtrain_torch.model.TorchModel`.
    """

    name: str
    contract: int
    framework: str
    package: ClassVar[str]
    prefix: ClassVar[str]
    tables: ClassVar[tuple[Lowerings[Any], Lowerings[Any], Lowerings[Any], Mapping[str, Term]]]
    """Lowerings of layers, losses and optimizers, and the terms of the keys that all optimizers have."""
    engine: ClassVar[Any] = None
    """How the framework trains in several processes, where it does."""
    group: Any = None
    """Those that have joined."""

    def __init__(self, device: str, threads: int | None, precision: Precision = "float32") -> None:
        self.device = device
        self._threads, self._precision = threads, precision

    def probe(self) -> Probe:
        """What is found here, or why the framework can't be imported."""
        try:
            self.load()
        except (ImportError, OSError) as error:
            return Probe(None, problem=str(error))
        return self.found()

    def load(self) -> None:
        """Import the framework."""
        importlib.import_module(self.framework)

    @abstractmethod
    def found(self) -> Probe:
        """Version and devices; the framework is loaded."""

    @abstractmethod
    def open(self) -> str:
        """Load the framework, resolve and set the device, and return the framework's name for it."""

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each key becomes in the framework's own terms."""
        return explain(model, loss, optimizer, *self.tables)

    def dataset(self, split: Split) -> Any:
        """Batches as the framework's tensors on the device."""
        return self._part("dataset", split, self.open())

    def model(self, spec: ModelSpec) -> Any:
        """The framework's own module on the device."""
        model = self._part("model", spec, self.open(), self._precision)
        if self.group:
            model.join(self.group)
        return model

    def optimizer(self, spec: OptimizerSpec, model: Any) -> Any:
        """The framework's update kernels over the model's parameters."""
        return self._part("optimizer", spec, model)

    def loop(self, model: Any, loss: LossSpec, optimizer: Any) -> Any:
        """Steps over the other three."""
        return self._part("loop", model, loss, optimizer)

    def join(self, place: Place, deadline: float, exact: bool) -> Any:
        """Join other processes; what is built from then on sums over all of them."""
        self.group = self.engine.join(self.open(), place, deadline, exact)
        return self.group

    def _part(self, file: str, *given: Any) -> Any:
        module = importlib.import_module(f"{self.package}.{file}")
        return getattr(module, f"{self.prefix}{file.title()}")(*given)


class DatasetBase:
    """One split, and the device that its batches are for."""

    def __init__(self, split: Split, device: str = "cpu") -> None:
        self._split, self._device = split, device

    def __len__(self) -> int:
        """How many samples it has."""
        return len(self._split.labels)


class ModelBase(ABC, Generic[T]):
    """Tensors by canonical name: state in and out, and the layers one by one.

    `native` runs on its own too: `native(images)` gives logits in evaluation mode.
    """

    native: Any
    tensors: dict[str, T]
    group: Any = None
    """The processes that train together, where there are several."""
    numerics: Callable[[], AbstractContextManager[object]] = staticmethod(nullcontext)
    """What the framework computes in, of its settings for the time of a call."""

    def __init__(self, spec: ModelSpec, device: str = "cpu", precision: Precision = "float32") -> None:
        self.spec, self.device, self.precision = spec, device, precision

    @abstractmethod
    def give(self, array: Array) -> T:
        """An array as a tensor on the device."""

    @abstractmethod
    def take(self, name: str, tensor: T) -> Array:
        """A copy in PyTorch's layout of a tensor that has the shape of parameter `name`, if that is one."""

    @abstractmethod
    def put(self, name: str, tensor: T, value: Array) -> None:
        """Write a value in PyTorch's layout into a tensor that has the shape of parameter `name`."""

    @abstractmethod
    def layer(self, node: Node, x: T, noise: Any) -> T:
        """The output of one layer that is no residual, with no gradient to it."""

    def join(self, group: Any) -> None:
        """Sum over processes: here gradients, in the modules of a framework batch statistics too."""
        self.group = group

    def mode(self, training: bool) -> None:
        """Training or evaluation, for a native module that has the two."""

    def noise(self, step: StepInput, batch: int = 0) -> Any:
        """What the dropout masks of a batch of the step come from."""
        return self.spec.noise(step, batch)

    def state(self) -> State:
        """A copy of every tensor of the spec."""
        return {name: self.take(name, tensor) for name, tensor in self.tensors.items()}

    def load(self, state: State) -> None:
        """Take over a state, in place: optimizers and compiled graphs keep their hold on the parameters."""
        for name, tensor in self.tensors.items():
            self.put(name, tensor, state[name])
        self.mode(training=False)  # as `native` is expected, which somebody else calls

    def trace(
        self, images: Array, step: StepInput | None, inputs: Mapping[str, Array] | None = None
    ) -> State:
        """Every layer's output by path, each layer fed its own input where `inputs` has one."""
        noise = self.noise(step) if step else None
        self.mode(training=step is not None)
        with self.numerics():
            return trace(
                self.spec.nodes,
                images,
                inputs or {},
                layer=lambda node, x: self.layer(node, x, noise),
                give=self.give,
                take=partial(self.take, ""),
            )


class OptimizerBase(Generic[T]):
    """The parameters, and the buffers beside them: zeros before the first update.

    Args:
        spec: of the optimizer.
        model: whose parameters it updates.
        zeros: makes a buffer of this name, such as `fc1.weight/exp_avg`, like a parameter.

    """

    def __init__(self, spec: OptimizerSpec, model: ModelBase[T], zeros: Callable[[str, T], T]) -> None:
        self._spec, self._model = spec, model
        self._parameters = {name: model.tensors[name] for name in model.spec.trainable}
        self._buffers = {
            f"{name}/{buffer}": zeros(f"{name}/{buffer}", parameter)
            for buffer in spec.buffers
            for name, parameter in self._parameters.items()
        }
        self._decayed = spec.decayed(model.spec)
        self._updates = 0

    def state(self) -> State:
        """`step` and each parameter's buffers."""
        buffers = {
            name: self._model.take(name.rpartition("/")[0], buffer) for name, buffer in self._buffers.items()
        }
        return {"step": np.array(self._updates, dtype=np.int64), **buffers}

    def load(self, state: State) -> None:
        """Take over what `state` gave, in place."""
        self._updates = int(state["step"])
        for name, buffer in self._buffers.items():
            self._model.put(name.rpartition("/")[0], buffer, state[name])

    def _advance(self, step: StepInput) -> Rates:
        """Count one update, and return its scalars."""
        self._updates += 1
        return rates(self._spec, step, self._updates)

    def _kept(self, buffer: str) -> list[T]:
        """The buffers of a name, one for each parameter; none where the optimizer keeps none."""
        return [
            self._buffers[f"{name}/{buffer}"] for name in self._parameters if buffer in self._spec.buffers
        ]
