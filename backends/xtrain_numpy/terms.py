"""What each part of a recipe is called in NumPy's own terms."""

from collections.abc import Callable, Mapping
from typing import Any

from xtrain.spec import SGD, Adam, CrossEntropy, LossSpec, ModelSpec, Node, OptimizerSpec
from xtrain.spec import layers as spec


def explain(model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
    """Native term by key: `model.<layer>`, `loss`, and `optimizer.<key>`."""
    layers = {f"model.{node.path}": LAYERS[type(node.layer)](node, node.layer) for node in model.walk()}
    return {**layers, "loss": LOSSES[type(loss)], **_optimizer(optimizer)}


LAYERS: dict[type[spec.Layer], Callable[[Node, Any], str]] = {
    spec.Conv2d: lambda node, conv: (
        f"tensordot(windows {conv.kernel_size}x{conv.kernel_size}, weight of {conv.out_channels}), "
        f"stride {conv.stride}, padding {conv.padding}{', + bias' if conv.bias else ''}"
    ),
    spec.Linear: lambda node, linear: "x @ weight.T + bias" if linear.bias else "x @ weight.T",
    spec.BatchNorm2d: lambda node, norm: (
        f"(x - mean) / sqrt(var + {norm.eps}) * weight + bias, running += {norm.momentum} * (batch - running)"
    ),
    spec.ReLU: lambda node, relu: "maximum(x, 0)",
    spec.MaxPool2d: lambda node, pool: (
        f"windows {pool.kernel_size}x{pool.kernel_size}.max(), stride {pool.step}, padding {pool.padding}"
    ),
    spec.AvgPool2d: lambda node, pool: (
        f"windows {pool.kernel_size}x{pool.kernel_size}.mean(), stride {pool.step}, padding {pool.padding}"
    ),
    spec.AdaptiveAvgPool2d: lambda node, pool: f"means over {pool.output_size}x{pool.output_size} cells",
    spec.Flatten: lambda node, flatten: "x.reshape(batch, -1)",
    spec.Dropout: lambda node, dropout: f"x * mask / {1 - dropout.p:g}, the mask from the plan",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}

LOSSES: dict[type[LossSpec], str] = {
    CrossEntropy: "(log(exp(logits).sum(1)) - logits[label]).sum() / samples",
}


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    match optimizer:
        case SGD():
            terms = {
                "name": "w -= lr * buffer",
                "lr": "lr of the step",
                "momentum": f"buffer = {optimizer.momentum} * buffer + g",
                "dampening": f"(1 - {optimizer.dampening}) * g from the second update on",
                "nesterov": "g + momentum * buffer" if optimizer.nesterov else "buffer",
                "weight_decay": f"g + {optimizer.weight_decay} * w",
            }
        case Adam():
            terms = {
                "name": "w -= lr / (1 - b1**t) * m / (sqrt(v / (1 - b2**t)) + eps)",
                "lr": "lr of the step",
                "betas": f"b1, b2 = {optimizer.betas[0]}, {optimizer.betas[1]}",
                "eps": f"+ {optimizer.eps}, outside the root",
                "weight_decay": f"g + {optimizer.weight_decay} * w",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}
