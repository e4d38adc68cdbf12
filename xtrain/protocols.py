"""The contract: what a backend implements. No tensor of any framework crosses it.

A backend is handed frozen specs and NumPy arrays, and hands back opaque batches and handles, floats
and NumPy arrays. Shapes: B batch, C channels, H height, W width, K classes.

A member keeps its meaning for ever: what has to mean something else gets another name. So a backend that
has every member computes what is asked of it, whichever version it was written for; docs/stability.md says
how versions go on.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xtrain.spec import (
    Draws,
    LossSpec,
    Metrics,
    ModelSpec,
    OptimizerSpec,
    Place,
    Probe,
    Split,
    State,
    StepInput,
)

VERSION = 1
"""The number of this contract. It rises with every member that a backend has to add."""

Batch = Any
Handle = Any
Array = NDArray[Any]


class Dataset(Protocol):
    """One split, on the device."""

    def __len__(self) -> int:
        """How many samples it has."""

    def batches(self, draws: Draws) -> Iterator[Batch]:
        """Native batches in the order of `draws`, assembled ahead of their use."""

    def read(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Images [B, C, H, W] and labels [B] of a batch, as the device has them."""


class Model(Protocol):
    """A lowered `ModelSpec`.

    Where the framework has modules, `native` is its own (nn.Module, nn.Layer, nn.Cell), with parameters under
    their canonical names, and in evaluation mode after `load`. A functional framework does without.
    """

    def state(self) -> State:
        """A copy of every tensor of `ModelSpec.tensors`."""

    def load(self, state: State) -> None:
        """Take over a state that has exactly the tensors of `ModelSpec.tensors`."""

    def predict(self, images: NDArray[np.float32]) -> Array:
        """Logits [B, K] in evaluation mode."""

    def trace(
        self, images: NDArray[np.float32], step: StepInput | None, inputs: Mapping[str, Array] | None = None
    ) -> State:
        """Every layer's output by path, in training mode where a step is given.

        A layer that `inputs` has a value for is fed that instead of what came before it. Batch
        statistics move as in a training step.
        """


class Optimizer(Protocol):
    """A lowered `OptimizerSpec` over a model's parameters."""

    def step(self, gradients: State, step: StepInput) -> None:
        """Update the parameters from given gradients, one for each name of `ModelSpec.trainable`."""

    def state(self) -> State:
        """A copy of `step` (int64, updates made) and each parameter's `name/buffer`.

        Buffers are zeros before the first step. In fp16 also `loss_scale` (float32) and `finite_steps`
        (int64, those since the scale last changed).
        """

    def load(self, state: State) -> None:
        """Take over what `state` gave, under any backend."""


class Loop(Protocol):
    """Compiled train and eval steps over the other three."""

    def train_step(self, batches: Sequence[Batch], step: StepInput) -> Handle:
        """One update: for each batch backward from `step.share` times its summed loss, then the optimizer.

        Rows of a batch are counted from its `step.first_rows`. `ValueError` where a model with dropout is
        given no keys, as for `gradients` and `Model.trace`.
        """

    def eval_step(self, batch: Batch) -> Handle:
        """Loss and correct predictions in evaluation mode; nothing of the model changes."""

    def read(self, handles: Sequence[Handle]) -> list[Metrics]:
        """Summed loss and correct predictions of each step: the only wait for the device."""

    def gradients(self, batch: Batch, step: StepInput) -> State:
        """Gradient of `step.share` times the summed loss by each parameter, which stay as they are.

        Batch statistics move.
        """


class Backend(Protocol):
    """A framework on one device. Making one imports no framework; the builders and `probe` do."""

    name: str
    """That of its entry point."""
    contract: int
    """The version of this contract that it was written for."""
    framework: str
    """The module whose import loads the framework; empty where there is none."""
    install: str
    """The command that installs what the backend needs."""
    rank: int
    """Of the installed frameworks the one of lowest rank is the default; ours have 1 to 3, take 100."""
    device: str
    """`cpu`, `gpu:0`, `ascend:0`, ... as asked for; `auto` until a builder has resolved it."""

    def environment(self, model: ModelSpec | None, threads: int | None) -> Mapping[str, str]:
        """Variables that must be set before the framework loads, for this model where it matters."""

    def probe(self) -> Probe:
        """What is installed and found here."""

    def explain(self, model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
        """What each layer (`model.conv1`), `loss` and each optimizer key become in the framework's terms."""

    def dataset(self, split: Split) -> Dataset:
        """Put a split where batches are made from."""

    def model(self, spec: ModelSpec) -> Model:
        """Lower a model; its weights are undefined until `load`."""

    def optimizer(self, spec: OptimizerSpec, model: Any) -> Optimizer:
        """Lower an optimizer over a model of this backend."""

    def loop(self, model: Any, loss: LossSpec, optimizer: Any) -> Loop:
        """Bind a model, a loss and an optimizer, both of this backend, into steps."""


class Group(Protocol):
    """The processes that train together, once they have joined."""

    def sum(self, arrays: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The sum of each array over all processes; all get the same bits. It waits for the others."""


class Engine(Protocol):
    """A framework's own way to train in several processes. Making one imports no framework.

    A backend that has one says so by two members that others do without: `engine`, and `join(place,
    deadline, exact) -> Group`, which joins the processes through it. From then on gradients and batch
    statistics are sums over all of them. A sum that takes longer than `deadline` seconds fails; an `exact`
    one adds in the order of ranks.
    """

    name: str
    """As users know it: `torch.distributed`."""

    def launcher(self, processes: int, port: int, logs: Path) -> Sequence[str]:
        """What follows `python` to let the framework's launcher start a script so many times on this machine.

        Its processes meet at `port` of the loopback device; files that it writes belong into `logs`.
        """

    def environment(self) -> Mapping[str, str]:
        """Variables for the launcher and its processes besides."""

    def place(self, environment: Mapping[str, str]) -> Place | None:
        """Where the variables of the framework's launcher put this process; None where there are none."""


class Files(Protocol):
    """A framework's own files of a model; states are canonical on this side of it.

    Making one imports no framework; `read` and `write` may. Neither runs what a file contains, and both
    leave it to the caller to compare names and shapes with the model's.
    """

    suffixes: tuple[str, ...]
    """What these files are recognised by: `.pth`, `.pt`."""
    beside: str
    """Suffix of a second file that has the optimizer state; empty where one file has all."""

    def read(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec | None
    ) -> tuple[State, State | None]:
        """Weights, and the optimizer state where one is there and an `optimizer` asks for it.

        What belongs to no tensor of the model keeps the file's name for it. `CheckpointError` where the
        file is damaged, hostile or of another kind.
        """

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """Float32 weights and optimizer state, as the framework's own loaders and optimizers take them."""
