"""A model in evaluation mode as ONNX: the lowering table, one function for each layer, and the file.

Importing this loads no onnx; writing a file does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from xtrain.errors import UsageError
from xtrain.spec import Lowerings, ModelSpec, Node, OptimizerSpec, State
from xtrain.spec import layers as spec
from xtrain.system.distribution import need, version

OPSET, IR = 17, 8
"""Those of ONNX 1.12 (2022), which has every operator used here: onnxruntime reads them since 1.12. Left to
itself, onnx writes its own newest IR, which a runtime of the year before refuses."""


class Graph:
    """Nodes, as `onnx.helper.make_node` takes them, and the tensors they hold.

    All but the ends of the graph is called `path.something`, so no layer's name is taken twice.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.held: State = {}

    def add(self, op: str, path: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output, whose name it gives."""
        output = f"{path}.output"
        self.nodes.append((op, list(inputs), [output], {"name": path, **attributes}))
        return output

    def hold(self, name: str, value: NDArray[Any]) -> str:
        """A constant."""
        self.held[name] = value
        return name

    def own(self, node: Node) -> list[str]:
        """A layer's tensors under their canonical names, in the order and layout of the vocabulary."""
        return [self.hold(name, self.state[name]) for name in node.tensors]


LAYERS: Lowerings[Callable[[Graph, Node, Any, str], str]] = Lowerings("onnx", "layer")
"""The term of a layer names the operators that it becomes; a residual's parts have terms of their own."""


@LAYERS.register(spec.Conv2d, "Conv")
def conv2d(graph: Graph, node: Node, layer: spec.Conv2d, x: str) -> str:
    """Conv."""
    window = _window(layer.kernel_size, layer.stride, layer.padding)
    return graph.add("Conv", node.path, x, *graph.own(node), **window)


@LAYERS.register(spec.Linear, "Gemm")
def linear(graph: Graph, node: Node, layer: spec.Linear, x: str) -> str:
    """Gemm with the weight transposed, as it is [out, in]."""
    return graph.add("Gemm", node.path, x, *graph.own(node), transB=1)


@LAYERS.register(spec.BatchNorm2d, "BatchNormalization")
def batch_norm2d(graph: Graph, node: Node, layer: spec.BatchNorm2d, x: str) -> str:
    """BatchNormalization with the running statistics."""
    return graph.add("BatchNormalization", node.path, x, *graph.own(node), epsilon=layer.eps)


@LAYERS.register(spec.ReLU, "Relu")
def relu(graph: Graph, node: Node, layer: spec.ReLU, x: str) -> str:
    """Relu."""
    return graph.add("Relu", node.path, x)


@LAYERS.register(spec.MaxPool2d, "MaxPool")
def max_pool2d(graph: Graph, node: Node, layer: spec.MaxPool2d, x: str) -> str:
    """MaxPool."""
    return graph.add("MaxPool", node.path, x, **_window(layer.kernel_size, layer.step, layer.padding))


@LAYERS.register(spec.AvgPool2d, "AveragePool")
def avg_pool2d(graph: Graph, node: Node, layer: spec.AvgPool2d, x: str) -> str:
    """AveragePool, padded zeros included."""
    window = _window(layer.kernel_size, layer.step, layer.padding)
    return graph.add("AveragePool", node.path, x, count_include_pad=1, **window)


@LAYERS.register(
    spec.AdaptiveAvgPool2d,
    lambda node: "GlobalAveragePool" if node.layer.output_size == 1 else "MatMul, MatMul",
)
def adaptive_avg_pool2d(graph: Graph, node: Node, layer: spec.AdaptiveAvgPool2d, x: str) -> str:
    """GlobalAveragePool to one cell; to more, means down and across: ONNX has no windows of uneven size."""
    path, cells = node.path, layer.output_size
    if cells == 1:
        return graph.add("GlobalAveragePool", path, x)
    _, height, width = node.input_shape
    x = graph.add("MatMul", f"{path}.down", graph.hold(f"{path}.rows", _means(height, cells)), x)
    return graph.add("MatMul", path, x, graph.hold(f"{path}.columns", _means(width, cells).T))


@LAYERS.register(spec.Flatten, "Flatten")
def flatten(graph: Graph, node: Node, layer: spec.Flatten, x: str) -> str:
    """Flatten."""
    return graph.add("Flatten", node.path, x)


@LAYERS.register(spec.Dropout, "none")
def dropout(graph: Graph, node: Node, layer: spec.Dropout, x: str) -> str:
    """Nothing: in evaluation it is the identity."""
    return x


@LAYERS.register(spec.LogSoftmax, "LogSoftmax")
def log_softmax(graph: Graph, node: Node, layer: spec.LogSoftmax, x: str) -> str:
    """LogSoftmax."""
    return graph.add("LogSoftmax", node.path, x, axis=1)


@LAYERS.register(spec.Rows, "Transpose, Reshape")
def rows(graph: Graph, node: Node, layer: spec.Rows, x: str) -> str:
    """[B, C, H, W] to [B, H, C*W]; the 0 of the shape keeps B."""
    x = graph.add("Transpose", f"{node.path}.rows_first", x, perm=[0, 2, 1, 3])
    shape = graph.hold(f"{node.path}.shape", np.array([0, *node.output_shape], np.int64))
    return graph.add("Reshape", node.path, x, shape)


@LAYERS.register(
    spec.LSTM,
    lambda node: ", ".join(["Transpose", *["LSTM", "Squeeze"] * node.layer.num_layers, "Transpose"]),
)
def lstm(graph: Graph, node: Node, layer: spec.LSTM, x: str) -> str:
    """One LSTM over the other, [T, B, F] to [T, 1, B, N]: onnxruntime takes no batch before the steps."""
    path = node.path
    x = graph.add("Transpose", f"{path}.steps_first", x, perm=[1, 0, 2])
    direction = graph.hold(f"{path}.direction", np.array([1], np.int64))
    for number in range(layer.num_layers):
        weight_ih, weight_hh, bias_ih, bias_hh = (
            _gates(graph.state[f"{path}.{name}_l{number}"])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        held = {"W": weight_ih, "R": weight_hh, "B": np.concatenate([bias_ih, bias_hh])}
        names = [graph.hold(f"{path}.{name}_l{number}", value[None]) for name, value in held.items()]
        x = graph.add("LSTM", f"{path}.l{number}", x, *names, hidden_size=layer.hidden_size)
        x = graph.add("Squeeze", f"{path}.l{number}_squeezed", x, direction)
    return graph.add("Transpose", path, x, perm=[1, 0, 2])


@LAYERS.register(spec.Last, "Gather")
def last(graph: Graph, node: Node, layer: spec.Last, x: str) -> str:
    """[B, T, F] to [B, F]."""
    return graph.add("Gather", node.path, x, graph.hold(f"{node.path}.step", np.array(-1, np.int64)), axis=1)


@LAYERS.register(spec.Residual, "Add")
def residual(graph: Graph, node: Node, layer: spec.Residual, x: str) -> str:
    """body(x) + shortcut(x)."""
    return graph.add("Add", node.path, chain(graph, node.body, x), chain(graph, node.shortcut, x))


def chain(graph: Graph, nodes: Sequence[Node], x: str) -> str:
    """Layers one after the other; none at all is the identity."""
    for node in nodes:
        x = LAYERS.of(node.layer, node.path)(graph, node, node.layer, x)
    return x


def lower(model: ModelSpec, state: State) -> Graph:
    """The nodes from `images` to `logits`."""
    graph = Graph(state)
    output = chain(graph, model.nodes, "images")
    graph.nodes.append(("Identity", [output], ["logits"], {}))
    return graph


class Onnx:
    """The net alone, as its evaluation runs it: images float32 [batch, C, H, W], normalised, to logits."""

    suffixes: tuple[str, ...] = (".onnx",)
    beside = ""

    def read(
        self, path: Path, model: ModelSpec | None = None, optimizer: OptimizerSpec | None = None
    ) -> NoReturn:
        """`UsageError`: what is written here is for runtimes."""
        remedy = "give the run, or the weights file, that it was made from"
        raise UsageError("ONNX can be written, not read", where=path, remedy=remedy)

    def write(
        self, path: Path, model: ModelSpec, optimizer: OptimizerSpec, weights: State, moments: State | None
    ) -> None:
        """Checked by ONNX's own rules first, shapes included."""
        need("onnx", "onnx", "an ONNX file")
        from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 - an extra

        graph = lower(model, weights)
        ends = {"images": model.input_shape, "logits": model.output_shape}
        images, logits = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in ends.items()
        )
        made = helper.make_model(
            helper.make_graph(
                [helper.make_node(op, x, y, **attributes) for op, x, y, attributes in graph.nodes],
                model.name,
                [images],
                [logits],
                [numpy_helper.from_array(value, name) for name, value in graph.held.items()],
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="xtrain",
            producer_version=version(),
        )
        checker.check_model(made, full_check=True)
        path.write_bytes(made.SerializeToString())


def _window(size: int, stride: int, padding: int) -> dict[str, list[int]]:
    return {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [padding] * 4}


def _means(pixels: int, cells: int) -> NDArray[np.float32]:
    """[cells, pixels]: what each pixel counts in the mean of each cell."""
    weights = np.zeros((cells, pixels), np.float32)
    for i in range(cells):
        cell = slice(i * pixels // cells, -(-(i + 1) * pixels // cells))
        weights[i, cell] = 1 / (cell.stop - cell.start)
    return weights


def _gates(value: NDArray[Any]) -> NDArray[Any]:
    """From the order i, f, g, o into ONNX's i, o, f, c, which calls g c."""
    i, f, g, o = np.split(value, 4)
    return np.concatenate([i, o, f, g])
