"""What each part of a recipe is called in Paddle's own terms; imports no framework."""

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
        f"nn.Conv2D({node.input_shape[0]}, {conv.out_channels}, kernel_size={conv.kernel_size}, "
        f"stride={conv.stride}, padding={conv.padding}{_no_bias(conv)})"
    ),
    spec.Linear: lambda node, linear: (
        f"nn.Linear({node.input_shape[0]}, {linear.out_features}{_no_bias(linear)}), weight [in, out]"
    ),
    spec.BatchNorm2d: lambda node, norm: (
        f"F.batch_norm(epsilon={norm.eps}, momentum={1 - norm.momentum:g}), running variance unbiased"
    ),
    spec.ReLU: lambda node, relu: "nn.ReLU()",
    spec.MaxPool2d: lambda node, pool: (
        f"F.max_pool2d(kernel_size={pool.kernel_size}, stride={pool.step}, padding={pool.padding}, "
        "return_mask=True)[0]"
    ),
    spec.AvgPool2d: lambda node, pool: (
        f"nn.AvgPool2D({pool.kernel_size}, stride={pool.step}, padding={pool.padding}, exclusive=False)"
    ),
    spec.AdaptiveAvgPool2d: lambda node, pool: f"nn.AdaptiveAvgPool2D({pool.output_size})",
    spec.Flatten: lambda node, flatten: "nn.Flatten()",
    spec.Dropout: lambda node, dropout: f"x * mask / {1 - dropout.p:g}, the mask from the plan",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}

LOSSES: dict[type[LossSpec], str] = {
    CrossEntropy: 'F.nll_loss(z - logsumexp(z), labels, reduction="sum") / samples, z = logits - max',
}


def _no_bias(layer: spec.Conv2d | spec.Linear) -> str:
    return "" if layer.bias else ", bias_attr=False"


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    match optimizer:
        case SGD():
            terms = {
                "name": f"the kernel of paddle.optimizer.{'Momentum' if optimizer.momentum else 'SGD'}",
                "lr": "learning_rate, a tensor made at each step",
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"gradient * {1 - optimizer.dampening:g} from the second step on",
                "nesterov": f"use_nesterov={optimizer.nesterov}",
                "weight_decay": f"gradient + {optimizer.weight_decay:g} * parameter",
            }
        case Adam():
            terms = {
                "name": "paddle.optimizer.Adam's formula in tensor operations",
                "lr": "learning_rate, a tensor made at each step",
                "betas": f"beta1={optimizer.betas[0]}, beta2={optimizer.betas[1]}",
                "eps": f"epsilon={optimizer.eps}",
                "weight_decay": f"gradient + {optimizer.weight_decay:g} * parameter",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}
