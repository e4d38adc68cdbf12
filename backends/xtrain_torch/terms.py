"""What each part of a recipe is called in torch's own terms; imports no framework."""

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
        f"nn.Conv2d({node.input_shape[0]}, {conv.out_channels}, kernel_size={conv.kernel_size}, "
        f"stride={conv.stride}, padding={conv.padding}, bias={conv.bias})"
    ),
    spec.Linear: lambda node, linear: (
        f"nn.Linear({node.input_shape[0]}, {linear.out_features}, bias={linear.bias})"
    ),
    spec.BatchNorm2d: lambda node, norm: (
        f"nn.BatchNorm2d({node.input_shape[0]}, eps={norm.eps}, momentum={norm.momentum})"
    ),
    spec.ReLU: lambda node, relu: "nn.ReLU()",
    spec.MaxPool2d: lambda node, pool: (
        f"nn.MaxPool2d({pool.kernel_size}, stride={pool.step}, padding={pool.padding})"
    ),
    spec.AvgPool2d: lambda node, pool: (
        f"nn.AvgPool2d({pool.kernel_size}, stride={pool.step}, padding={pool.padding})"
    ),
    spec.AdaptiveAvgPool2d: lambda node, pool: f"nn.AdaptiveAvgPool2d({pool.output_size})",
    spec.Flatten: lambda node, flatten: "nn.Flatten()",
    spec.Dropout: lambda node, dropout: f"x * mask / {1 - dropout.p:g}, the mask from the plan",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}

LOSSES: dict[type[LossSpec], str] = {
    CrossEntropy: 'F.cross_entropy(logits, labels, reduction="sum") / samples',
}


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    match optimizer:
        case SGD():
            terms = {
                "name": "torch.optim.SGD(fused=True)",
                "lr": 'param_group["lr"], set before each step',
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"dampening={optimizer.dampening}",
                "nesterov": f"nesterov={optimizer.nesterov}",
                "weight_decay": f"weight_decay={optimizer.weight_decay}",
            }
        case Adam():
            terms = {
                "name": "torch.optim.Adam(fused=True)",
                "lr": 'param_group["lr"], set before each step',
                "betas": f"betas={optimizer.betas}",
                "eps": f"eps={optimizer.eps}",
                "weight_decay": f"weight_decay={optimizer.weight_decay}",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}
