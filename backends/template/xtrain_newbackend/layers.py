"""The lowering table: an entry for each layer, beside its term, the line that `xtrain check` prints for it.

    @LAYERS.register(Linear, "x @ weight.T + bias")
    def linear(node: Node, layer: Linear) -> Any: ...

Explaining a recipe may load no framework: import it with `Lazy("the_framework")` of `xtrain.plugins`.
"""

from collections.abc import Callable
from typing import Any

from xtrain.spec import Lowerings, Node

LAYERS: Lowerings[Callable[[Node, Any], Any]] = Lowerings("newbackend", "layer")
lower: Callable[[Node], Any] = LAYERS.lower
