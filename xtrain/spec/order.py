"""The order in which layers run: as the model has them, or a quicker one with the same result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from xtrain.spec.layers import MaxPool2d, ReLU, Residual
from xtrain.spec.model import Node
from xtrain.spec.run import State

T = TypeVar("T")


def pools_first(nodes: Sequence[Node]) -> list[Node]:
    """`nodes`, but each ReLU after the max pool that follows it, where it has a fraction of the elements.

    To the bit the same: the largest of a window stays the largest, so outputs are equal, and so is where a
    gradient goes; a window without a positive value passes none on either way.
    """
    ordered = list(nodes)
    for place in range(len(ordered) - 1):
        first, second = ordered[place : place + 2]
        if isinstance(first.layer, ReLU) and isinstance(second.layer, MaxPool2d):
            ordered[place : place + 2] = second, first
    return ordered


def trace(
    nodes: Sequence[Node],
    images: NDArray[Any],
    inputs: Mapping[str, NDArray[Any]],
    layer: Callable[[Node, T], T],
    give: Callable[[NDArray[Any]], T],
    take: Callable[[T], NDArray[Any]],
) -> State:
    """Every layer's output by path, in the model's own order.

    Args:
        nodes: of the model.
        images: what it is given.
        inputs: by path what a layer is given instead of what came before it.
        layer: runs one that is no residual.
        give: an array to the framework.
        take: a copy of what a layer gave.

    """
    outputs: State = {}

    def run(nodes: Sequence[Node], x: Any) -> Any:
        for node in nodes:
            x = give(inputs[node.path]) if node.path in inputs else x
            if isinstance(node.layer, Residual):
                x = run(node.body, x) + run(node.shortcut, x)
            else:
                x = layer(node, x)
            outputs[node.path] = take(x)
        return x

    run(nodes, give(images))
    return outputs
