"""What each part of a recipe is called in MindSpore's own terms; imports no framework."""

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


def _pool(kind: str, pool: spec.MaxPool2d | spec.AvgPool2d) -> str:
    padding = f', pad_mode="pad", padding={pool.padding}' if pool.padding else ""
    return f"nn.{kind}({pool.kernel_size}, stride={pool.step}{padding})"


def _max_pool(pool: spec.MaxPool2d) -> str:
    if pool.padding:
        return _pool("MaxPool2d", pool)
    return f'P.MaxPoolWithArgmax({pool.kernel_size}, {pool.step}, "valid")'


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
    spec.MaxPool2d: lambda node, pool: _max_pool(pool),
    spec.AvgPool2d: lambda node, pool: _pool("AvgPool2d", pool),
    spec.AdaptiveAvgPool2d: _adaptive,
    spec.Flatten: lambda node, flatten: "ops.Flatten()",
    spec.Dropout: lambda node, dropout: f"x * mask / {1 - dropout.p:g}, the mask from the plan",
    spec.LogSoftmax: lambda node, softmax: "nn.LogSoftmax(axis=1)",
    spec.Rows: lambda node, rows: "x.transpose(0, 2, 1, 3).reshape(batch, height, -1)",
    spec.LSTM: lambda node, lstm: (
        f"nn.LSTM({node.input_shape[1]}, {lstm.hidden_size}, num_layers={lstm.num_layers}, batch_first=True)"
    ),
    spec.Last: lambda node, last: "x[:, -1]",
    spec.Residual: lambda node, residual: "body(x) + shortcut(x)" if node.shortcut else "body(x) + x",
}


def _loss(loss: LossSpec) -> str:
    by_class = loss.class_weights
    weights = f" * {list(by_class)}" if by_class else ""
    match loss:
        case CrossEntropy():
            smooth = f", {loss.label_smoothing} of it over all classes" if loss.label_smoothing else ""
            targets = f"one_hot(labels{smooth}){weights}"
            fused = f"ops.SoftmaxCrossEntropyWithLogits()(logits, {targets})[0].sum()"
            total = f"-({targets} * ops.LogSoftmax()(logits)).sum()" if weights else fused
        case NLL():
            total = f"-(one_hot(labels){weights} * outputs).sum()"
        case MSE():
            total = "ops.Square()(outputs - one_hot(labels)).sum()"
    if loss.reduction == "sum":
        return total
    share = "sum of weights" if weights else "(samples * classes)" if isinstance(loss, MSE) else "samples"
    return f"{total} / {share}"


def _optimizer(optimizer: OptimizerSpec) -> Mapping[str, str]:
    terms = _shared(optimizer)
    match optimizer:
        case SGD():
            terms |= {
                "name": "ops.ApplyMomentum()" if optimizer.momentum else "ops.ApplyGradientDescent()",
                "momentum": f"momentum={optimizer.momentum}",
                "dampening": f"the gradient times {1 - optimizer.dampening:g}, from the second step on",
                "nesterov": (
                    "lr * momentum in place of lr, then ops.ApplyGradientDescent()"
                    if optimizer.nesterov
                    else "use_nesterov=False"
                ),
            }
        case Adam() | AdamW():
            terms |= {
                "name": "ops.Adam()",
                "lr": "lr * sqrt(1 - beta2**t) / (1 - beta1**t), given to each step",
                "betas": f"beta1={optimizer.betas[0]}; squares by ops.ApplyMomentum({optimizer.betas[1]})",
                "eps": f"epsilon={optimizer.eps} * sqrt(1 - beta2**t), given to each step",
            }
            if isinstance(optimizer, AdamW):
                terms["weight_decay"] = (
                    f"ops.ApplyGradientDescent(), weight - lr * {optimizer.weight_decay} * weight"
                )
        case RMSprop():
            terms |= {
                "name": "ops.ApplyMomentum()" if optimizer.momentum else "ops.ApplyGradientDescent()",
                "alpha": f"squares by ops.ApplyMomentum({optimizer.alpha})",
                "eps": f"gradient / (root + {optimizer.eps})",
                "momentum": f"momentum={optimizer.momentum}",
                "centered": (
                    "ops.Sqrt()(squares - ops.Square()(means))"
                    if optimizer.centered
                    else "ops.Sqrt()(squares)"
                ),
            }
        case Adagrad():
            terms |= {
                "name": "ops.ApplyAdagradV2()",
                "lr": f"lr / (1 + (t - 1) * {optimizer.lr_decay}), given to each step",
                "lr_decay": f"lr / (1 + (t - 1) * {optimizer.lr_decay})",
                "eps": f"epsilon={optimizer.eps}",
            }
    return {f"optimizer.{key}": term for key, term in terms.items()}


def _shared(optimizer: OptimizerSpec) -> dict[str, str]:
    """What every optimizer has."""
    value, norm, ema = optimizer.clip_value, optimizer.clip_norm, optimizer.ema
    return {
        "lr": "lr, given to each step",
        "weight_decay": f"gradient + {optimizer.weight_decay} * weight",
        "decay_exclude": f"no decay for {', '.join(optimizer.decay_exclude) or 'none'}",
        "l1": f"gradient + {optimizer.l1} * ops.Sign()(weight)",
        "l2": f"gradient + {optimizer.l2} * weight",
        "clip_value": "none" if value is None else f"ops.Minimum() and ops.Maximum() with {value}",
        "clip_norm": "none" if norm is None else f"gradient * min(1, {norm} / (norm + 1e-6)), all together",
        "ema": "none" if ema is None else f"ops.ApplyGradientDescent(), {1 - ema:.6g} of weight - average",
    }
