"""A model: layers in order, placed (named, with their shapes) from an input shape."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from xtrain.spec.layer import Layer
from xtrain.spec.layers import Dropout, Residual
from xtrain.spec.parts import OwnCode
from xtrain.spec.run import StepInput
from xtrain.spec.tensors import Shape, ShapeError, TensorSpec, as_shape, format_shape

_FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Node:
    """A layer in its place: `path` is its canonical name, shapes leave out the batch axis.

    `dropout` is a dropout layer's index in `ModelSpec.dropouts`, -1 for any other layer.
    """

    path: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    body: tuple["Node", ...] = ()
    shortcut: tuple["Node", ...] = ()
    dropout: int = -1

    @property
    def tensors(self) -> dict[str, TensorSpec]:
        """This layer's own tensors by canonical name, such as `conv1.weight`."""
        own = self.layer.tensors(self.input_shape)
        return {f"{self.path}.{name}": tensor for name, tensor in own.items()}

    @property
    def parameters(self) -> int:
        """How many of its own numbers are trained."""
        return sum(tensor.size for tensor in self.tensors.values() if tensor.trainable)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of its own for one sample."""
        return self.layer.multiply_adds(self.input_shape)

    @property
    def activation_memory(self) -> int:
        """Bytes for one sample: float32 output and gradient; 0 without parameters, as torchinfo has it."""
        return 2 * _FLOAT * math.prod(self.output_shape) if self.parameters else 0

    @property
    def parameter_memory(self) -> int:
        """Bytes of its own parameters in float32."""
        return _FLOAT * self.parameters

    def walk(self) -> Iterator["Node"]:
        """Its parts in the order they run, then itself."""
        for part in (*self.body, *self.shortcut):
            yield from part.walk()
        yield self


@dataclass(frozen=True)
class ModelSpec:
    """What a backend lowers. `ShapeError` names the layer that does not fit.

    Args:
        name: what the model is called.
        input_shape: (channels, height, width) of one image.
        layers: in order; a layer without a name gets one, such as `conv1` or `fc2`.

    """

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    nodes: tuple[Node, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.layers:
            raise ShapeError("a model needs at least one layer")
        if not self.input_shape or min(self.input_shape) < 1:
            raise ShapeError(f"an input of {format_shape(self.input_shape)} holds nothing")
        nodes = _place(self.layers, self.input_shape, prefix="", dropouts=itertools.count())
        object.__setattr__(self, "nodes", nodes)
        _check_paths(self.nodes)

    @property
    def output_shape(self) -> Shape:
        """Shape of the logits of one sample."""
        return self.nodes[-1].output_shape

    def walk(self) -> Iterator[Node]:
        """Every layer in the order it runs; the parts of a residual come before it."""
        for node in self.nodes:
            yield from node.walk()

    @cached_property
    def tensors(self) -> dict[str, TensorSpec]:
        """The canonical state: every parameter and buffer by name, in the order of the layers."""
        return {name: tensor for node in self.walk() for name, tensor in node.tensors.items()}

    @cached_property
    def trainable(self) -> tuple[str, ...]:
        """Names of the tensors that an optimizer updates."""
        return tuple(name for name, tensor in self.tensors.items() if tensor.trainable)

    @cached_property
    def dropouts(self) -> tuple[str, ...]:
        """Paths of the dropout layers in the order they run; `StepInput.dropout_keys` follows it."""
        return tuple(node.path for node in self.walk() if isinstance(node.layer, Dropout))

    def noise(self, step: StepInput, batch: int = 0) -> tuple[int, ...]:
        """What a batch's dropout masks come from: the place of its first row, then a key for each dropout.

        `batch` is the batch's index in the step. Layer `node` has its key at `1 + node.dropout`.
        `ValueError` where the step has not one key for each dropout layer: without them the model would
        train without dropout and nobody would notice.
        """
        if len(step.dropout_keys) != len(self.dropouts):
            raise ValueError(
                f"step {step.number} has {len(step.dropout_keys)} dropout keys, "
                f"model {self.name} has {len(self.dropouts)} dropout layers"
            )
        return (step.first_rows[batch], *step.dropout_keys)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(node.parameters for node in self.walk())

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one sample's forward pass."""
        return sum(node.multiply_adds for node in self.walk())

    @property
    def activation_memory(self) -> int:
        """Bytes for one sample: torchinfo's "forward/backward pass size" at batch 1."""
        return sum(node.activation_memory for node in self.walk())

    @property
    def parameter_memory(self) -> int:
        """Bytes of all parameters in float32: torchinfo's "params size"."""
        return sum(node.parameter_memory for node in self.walk())


def _place(layers: Sequence[Layer], shape: Shape, prefix: str, dropouts: Iterator[int]) -> tuple[Node, ...]:
    nodes = []
    for layer in _named(layers, prefix):
        node = _place_one(layer, shape, prefix, dropouts)
        nodes.append(node)
        shape = node.output_shape
    return tuple(nodes)


def _place_one(layer: Layer, shape: Shape, prefix: str, dropouts: Iterator[int]) -> Node:
    path = prefix + layer.name
    if isinstance(layer, Residual):
        body = _place(layer.body, shape, f"{path}.", dropouts)
        shortcut = _place(layer.shortcut, shape, f"{path}.", dropouts)
        ends = [part[-1].output_shape if part else shape for part in (body, shortcut)]
        if ends[0] != ends[1]:
            raise ShapeError(
                f"layer {path}: the body gives {format_shape(ends[0])}, the shortcut {format_shape(ends[1])}"
            )
        both = [node.path for node in (*body, *shortcut)]
        if len(set(both)) < len(both):
            raise ShapeError(f"layer {path}: body and shortcut share a layer name; name their layers")
        return Node(path, layer, shape, ends[0], body, shortcut)
    try:
        with OwnCode("whose output_shape() or tensors() fails", layer):
            output = as_shape(layer.output_shape(shape))
            for name, tensor in layer.tensors(shape).items():
                if not isinstance(tensor, TensorSpec):
                    raise TypeError(f"tensor {name!r} is {tensor!r:.80}, not a TensorSpec")
        return Node(path, layer, shape, output, dropout=next(dropouts) if isinstance(layer, Dropout) else -1)
    except ShapeError as error:
        raise ShapeError(f"layer {path}, given {format_shape(shape)}: {error}") from None


def _check_paths(nodes: Sequence[Node], parent: str = "") -> None:
    """Refuse a path that another layer has, or that leads through one: `a.b` beside `a` is not inside it."""
    paths = {node.path for node in nodes}
    for node in nodes:
        steps = node.path.removeprefix(parent).split(".")
        for length in range(1, len(steps)):
            outer = parent + ".".join(steps[:length])
            if outer in paths:
                raise ShapeError(f"layer {node.path} has a name inside layer {outer}; rename one of them")
        _check_paths((*node.body, *node.shortcut), f"{node.path}.")


def _named(layers: Sequence[Layer], prefix: str) -> list[Layer]:
    """Give every unnamed layer its kind and number; refuse a name used twice."""
    counts: Counter[str] = Counter()
    named = []
    for layer in layers:
        op: str = getattr(layer, "op")  # noqa: B009 - every concrete layer has one, the base has not
        kind = layer.short or op
        counts[kind] += 1
        named.append(layer if layer.name else replace(layer, name=f"{kind}{counts[kind]}"))
    repeated = [name for name, count in Counter(layer.name for layer in named).items() if count > 1]
    if repeated:
        raise ShapeError(f"two layers are called {prefix}{repeated[0]}")
    return named
