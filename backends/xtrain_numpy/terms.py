"""What each part of a recipe is called in NumPy's own terms."""

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
    spec.LogSoftmax: lambda node, softmax: "x - log(exp(x).sum())",
    spec.Rows: lambda node, rows: "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)",
    spec.LSTM: lambda node, lstm: (
        f"{lstm.num_layers} x (c = sigmoid(f) * c + sigmoid(i) * tanh(g); h = sigmoid(o) * tanh(c)), "
        f"{lstm.hidden_size} wide"
    ),
    spec.Last: lambda node, last: "x[:, -1]",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}


def _loss(loss: LossSpec) -> str:
    by_class = loss.class_weights
    weights = f"{list(by_class)}[label] * " if by_class else ""
    match loss:
        case CrossEntropy():
            smooth = f", {loss.label_smoothing} of it over all classes" if loss.label_smoothing else ""
            each = f"{weights}(log(exp(logits).sum(1)) - logits[label]){smooth}"
        case NLL():
            each = f"{weights}-output[label]"
        case MSE():
            each = f"(output - one_hot)**2{'.mean(1)' if loss.reduction == 'mean' else ''}"
    share = f" / {'samples' if not weights else 'sum of weights'}" if loss.reduction == "mean" else ""
    return f"({each}).sum(){share}"


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    decay = f"g + {optimizer.weight_decay} * w"
    terms = _shared(optimizer)
    match optimizer:
        case SGD():
            terms |= {
                "name": "w -= lr * buffer",
                "momentum": f"buffer = {optimizer.momentum} * buffer + g",
                "dampening": f"(1 - {optimizer.dampening}) * g from the second update on",
                "nesterov": "g + momentum * buffer" if optimizer.nesterov else "buffer",
            }
        case Adam() | AdamW():
            if isinstance(optimizer, AdamW):
                decay = f"w *= 1 - lr * {optimizer.weight_decay}"
            terms |= {
                "name": "w -= lr / (1 - b1**t) * m / (sqrt(v / (1 - b2**t)) + eps)",
                "betas": f"b1, b2 = {optimizer.betas[0]}, {optimizer.betas[1]}",
                "eps": f"+ {optimizer.eps}, outside the root",
            }
        case RMSprop():
            terms |= {
                "name": "w -= lr * buffer; buffer = momentum * buffer + g / (sqrt(v) + eps)",
                "alpha": f"v = {optimizer.alpha} * v + {1 - optimizer.alpha:.6g} * g**2",
                "eps": f"+ {optimizer.eps}, outside the root",
                "momentum": f"{optimizer.momentum} * buffer",
                "centered": "sqrt(v - mean(g)**2)" if optimizer.centered else "sqrt(v)",
            }
        case Adagrad():
            terms |= {
                "name": "w -= lr * g / (sqrt(sum) + eps)",
                "lr_decay": f"lr / (1 + (t - 1) * {optimizer.lr_decay})",
                "eps": f"+ {optimizer.eps}, outside the root",
            }
    return {f"optimizer.{key}": term for key, term in {**terms, "weight_decay": decay}.items()}


def _shared(optimizer: OptimizerSpec) -> dict[str, str]:
    """What every optimizer has."""
    value, norm, ema = optimizer.clip_value, optimizer.clip_norm, optimizer.ema
    return {
        "lr": "lr of the step",
        "decay_exclude": f"no decay for {', '.join(optimizer.decay_exclude) or 'none'}",
        "l1": f"g + {optimizer.l1} * sign(w)",
        "l2": f"g + {optimizer.l2} * w",
        "clip_value": "none" if value is None else f"clip(g, -{value}, {value})",
        "clip_norm": "none" if norm is None else f"g * min(1, {norm} / (norm + 1e-6)), all together",
        "ema": "none" if ema is None else f"average = {ema} * average + {1 - ema:.6g} * w",
    }
