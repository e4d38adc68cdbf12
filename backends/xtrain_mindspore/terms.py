"""What each part of a recipe is called in MindSpore's own terms; imports no framework."""

from collections.abc import Callable, Mapping
from typing import Any

from xtrain.spec import SGD, Adam, CrossEntropy, LossSpec, ModelSpec, Node, OptimizerSpec
from xtrain.spec import layers as spec


def explain(model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
    """Native term by key: `model.<layer>`, `loss`, and `optimizer.<key>`."""
    layers = {f"model.{node.path}": LAYERS[type(node.layer)](node, node.layer) for node in model.walk()}
    return {**layers, "loss": LOSSES[type(loss)], **_optimizer(optimizer)}


def _pool(kind: str, pool: spec.MaxPool2d | spec.AvgPool2d) -> str:
    padding = f', pad_mode="pad", padding={pool.padding}' if pool.padding else ""
    return f"nn.{kind}({pool.kernel_size}, stride={pool.step}{padding})"


def _adaptive(node: Node, pool: spec.AdaptiveAvgPool2d) -> str:
    _, height, width = node.input_shape
    if height % pool.output_size or width % pool.output_size:
        return f"nn.AdaptiveAvgPool2d({pool.output_size})"
    window = (height // pool.output_size, width // pool.output_size)
    return f"nn.AvgPool2d({window}, stride={window})"


LAYERS: dict[type[spec.Layer], Callable[[Node, Any], str]] = {
    spec.Conv2d: lambda node, conv: (
        f"nn.Conv2d({node.input_shape[0]}, {conv.out_channels}, kernel_size={conv.kernel_size}, "
        f'stride={conv.stride}, pad_mode="pad", padding={conv.padding}, has_bias={conv.bias})'
    ),
    spec.Linear: lambda node, linear: (
        f"nn.Dense({node.input_shape[0]}, {linear.out_features}, has_bias={linear.bias})"
    ),
    spec.BatchNorm2d: lambda node, norm: (
        f"nn.BatchNorm2d({node.input_shape[0]}, eps={norm.eps}, momentum={1 - norm.momentum:g})"
    ),
    spec.ReLU: lambda node, relu: "nn.ReLU()",
    spec.MaxPool2d: lambda node, pool: _pool("MaxPool2d", pool),
    spec.AvgPool2d: lambda node, pool: _pool("AvgPool2d", pool),
    spec.AdaptiveAvgPool2d: _adaptive,
    spec.Flatten: lambda node, flatten: "nn.Flatten()",
    spec.Dropout: lambda node, dropout: f"x * mask / {1 - dropout.p:g}, the mask from the plan",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}

LOSSES: dict[type[LossSpec], str] = {
    CrossEntropy: "ops.SoftmaxCrossEntropyWithLogits()(logits, one_hot(labels))[0].sum() / samples",
}


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    match optimizer:
        case SGD():
            terms = {
                "name": "ops.ApplyMomentum()" if optimizer.momentum else "ops.ApplyGradientDescent()",
                "lr": "lr, a tensor given to each step",
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"the gradient times {1 - optimizer.dampening:g}, from the second step on",
                "nesterov": (
                    "lr * momentum in place of lr, then ops.ApplyGradientDescent()"
                    if optimizer.nesterov
                    else "use_nesterov=False"
                ),
                "weight_decay": f"gradient + {optimizer.weight_decay} * weight",
            }
        case Adam():
            terms = {
                "name": "ops.Adam()",
                "lr": "lr * sqrt(1 - beta2**t) / (1 - beta1**t), a tensor given to each step",
                "betas": f"beta1={optimizer.betas[0]}; squares by ops.ApplyMomentum({optimizer.betas[1]})",
                "eps": f"epsilon={optimizer.eps} * sqrt(1 - beta2**t), a tensor given to each step",
                "weight_decay": f"gradient + {optimizer.weight_decay} * weight",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}
