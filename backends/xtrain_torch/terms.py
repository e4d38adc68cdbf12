"""What each part of a recipe is called in torch's own terms; imports no framework."""

from collections.abc import Callable, Mapping
from typing import Any

from xtrain.spec import (
    MSE,
    NLL,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CrossEntropy,
    LossSpec,
    ModelSpec,
    Node,
    OptimizerSpec,
    RMSprop,
)
from xtrain.spec import layers as spec


def explain(model: ModelSpec, loss: LossSpec, optimizer: OptimizerSpec) -> Mapping[str, str]:
    """Native term by key: `model.<layer>`, `loss`, and `optimizer.<key>`."""
    layers = {f"model.{node.path}": LAYERS[type(node.layer)](node, node.layer) for node in model.walk()}
    return {**layers, "loss": _loss(loss), **_optimizer(optimizer)}


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
    spec.LogSoftmax: lambda node, softmax: "nn.LogSoftmax(dim=1)",
    spec.Rows: lambda node, rows: "x.transpose(1, 2).flatten(2)",
    spec.LSTM: lambda node, lstm: (
        f"nn.LSTM({node.input_shape[1]}, {lstm.hidden_size}, num_layers={lstm.num_layers}, batch_first=True)"
    ),
    spec.Last: lambda node, last: "x[:, -1]",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}


def _loss(loss: LossSpec) -> str:
    by_class = loss.class_weights
    weight = f", weight={list(by_class)}" if by_class else ""
    match loss:
        case CrossEntropy():
            call = f"F.cross_entropy(logits, labels{weight}, label_smoothing={loss.label_smoothing}"
        case NLL():
            call = f"F.nll_loss(outputs, labels{weight}"
        case MSE():
            call = "F.mse_loss(outputs, F.one_hot(labels)"
    if loss.reduction == "sum":
        return f'{call}, reduction="sum")'
    share = "sum of weights" if weight else "(samples * classes)" if isinstance(loss, MSE) else "samples"
    return f'{call}, reduction="sum") / {share}'


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    match optimizer:
        case SGD():
            terms = {
                "name": "torch._fused_sgd_, of torch.optim.SGD(fused=True)",
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"dampening={optimizer.dampening}",
                "nesterov": f"nesterov={optimizer.nesterov}",
            }
        case Adam() | AdamW():
            kind = type(optimizer).__name__
            terms = {
                "name": f"torch._fused_{optimizer.name}_, of torch.optim.{kind}(fused=True)",
                "betas": f"betas={optimizer.betas}",
                "eps": f"eps={optimizer.eps}",
            }
        case RMSprop():
            terms = {
                "name": "torch.optim.rmsprop.rmsprop(foreach=True)",
                "alpha": f"alpha={optimizer.alpha}",
                "eps": f"eps={optimizer.eps}",
                "momentum": f"momentum={optimizer.momentum}",
                "centered": f"centered={optimizer.centered}",
            }
        case Adagrad():
            terms = {
                "name": "torch.optim.adagrad.adagrad(foreach=True)",
                "lr_decay": f"lr_decay={optimizer.lr_decay}",
                "eps": f"eps={optimizer.eps}",
            }
    return {f"optimizer.{key}": term for key, term in {**terms, **_shared(optimizer)}.items()}


def _shared(optimizer: OptimizerSpec) -> dict[str, str]:
    """What every optimizer has."""
    value, norm, ema = optimizer.clip_value, optimizer.clip_norm, optimizer.ema
    return {
        "lr": "lr=, that of the step",
        "weight_decay": f"weight_decay={optimizer.weight_decay}",
        "decay_exclude": f"weight_decay=0.0 for these: {', '.join(optimizer.decay_exclude) or 'none'}",
        "l1": f"grad + {optimizer.l1} * sign(w)",
        "l2": f"grad + {optimizer.l2} * w",
        "clip_value": "none" if value is None else f"nn.utils.clip_grad_value_({value})",
        "clip_norm": "none" if norm is None else f"as nn.utils.clip_grad_norm_({norm}), in float64",
        "ema": "none" if ema is None else f"torch._foreach_lerp_(averages, weights, {1 - ema:.6g})",
    }
