"""What each part of a recipe is called in Paddle's own terms; imports no framework."""

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
    spec.LogSoftmax: lambda node, softmax: "z - logsumexp(z), z = x - max",
    spec.Rows: lambda node, rows: "x.transpose([0, 2, 1, 3]).flatten(2)",
    spec.LSTM: lambda node, lstm: (
        f"nn.LSTM({node.input_shape[1]}, {lstm.hidden_size}, num_layers={lstm.num_layers})"
    ),
    spec.Last: lambda node, last: "x[:, -1]",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}


def _no_bias(layer: spec.Conv2d | spec.Linear) -> str:
    return "" if layer.bias else ", bias_attr=False"


def _loss(loss: LossSpec) -> str:
    by_class = loss.class_weights
    weight = f", weight={list(by_class)}" if by_class else ""
    smoothed = ""
    match loss:
        case CrossEntropy():
            call = f"F.nll_loss(z - logsumexp(z), labels{weight}"
            if loss.label_smoothing:
                smoothed = f", {loss.label_smoothing} of it over all classes"
            smoothed += ", z = logits - max"
        case NLL():
            call = f"F.nll_loss(outputs, labels{weight}"
        case MSE():
            call = "F.mse_loss(outputs, F.one_hot(labels)"
    if loss.reduction == "sum":
        return f'{call}, reduction="sum"){smoothed}'
    share = "sum of weights" if weight else "(samples * classes)" if isinstance(loss, MSE) else "samples"
    return f'{call}, reduction="sum") / {share}{smoothed}'


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    terms = _shared(optimizer)
    match optimizer:
        case SGD():
            terms |= {
                "name": f"the kernel of paddle.optimizer.{'Momentum' if optimizer.momentum else 'SGD'}",
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"gradient * {1 - optimizer.dampening:g} from the second step on",
                "nesterov": f"use_nesterov={optimizer.nesterov}",
            }
        case Adam() | AdamW():
            terms |= {
                "name": "the kernel of paddle.optimizer.Adam, exp_avg moved before it",
                "betas": f"beta1={optimizer.betas[0]}, beta2={optimizer.betas[1]}",
                "eps": f"epsilon={optimizer.eps}",
            }
            if isinstance(optimizer, AdamW):
                terms["weight_decay"] = f"parameter * (1 - lr * {optimizer.weight_decay:g})"
        case RMSprop():
            terms |= {
                "name": "paddle.optimizer.RMSProp's formula in tensor operations, epsilon outside the root",
                "alpha": f"rho={optimizer.alpha}",
                "eps": f"epsilon={optimizer.eps}",
                "momentum": f"momentum={optimizer.momentum}",
                "centered": f"centered={optimizer.centered}",
            }
        case Adagrad():
            terms |= {
                "name": "the kernel of paddle.optimizer.Adagrad",
                "lr_decay": f"learning_rate / (1 + (t - 1) * {optimizer.lr_decay})",
                "eps": f"epsilon={optimizer.eps}",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}


def _shared(optimizer: OptimizerSpec) -> dict[str, str]:
    """What every optimizer has."""
    value, norm, ema = optimizer.clip_value, optimizer.clip_norm, optimizer.ema
    return {
        "lr": "learning_rate, a tensor made at each step",
        "weight_decay": f"gradient + {optimizer.weight_decay:g} * parameter",
        "decay_exclude": f"parameters left alone: {', '.join(optimizer.decay_exclude) or 'none'}",
        "l1": f"gradient + {optimizer.l1} * sign(parameter)",
        "l2": f"gradient + {optimizer.l2} * parameter",
        "clip_value": "none" if value is None else f"nn.utils.clip_grad_value_({value})",
        "clip_norm": (
            "none" if norm is None else f"gradient * min(1, {norm} / (norm + 1e-6)), norm of all together"
        ),
        "ema": "none" if ema is None else f"average * {ema} + parameter * {1 - ema:.6g}",
    }
