"""`python tests/backends/torch_values.py` writes xtrain/conformance/published.json.

Every case of the suite is computed by PyTorch's own layers, losses and optimizers in float64, without a
backend of xtrain's. What a case begins with (weights, images, gradients, dropout masks) is the plan's.
"""

import itertools
import json
from dataclasses import fields

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import swa_utils

from xtrain.conformance import computed, published
from xtrain.conformance.cases import LAYERS, LOSSES, MLP, split, step_input
from xtrain.spec import keep_mask
from xtrain.spec import layers as spec
from xtrain.spec.optimizer import Optimizer

WIDE = torch.float64


class Rows(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2).flatten(2)


class Last(nn.Module):
    def forward(self, x):
        return x[:, -1]


class Lstm(nn.LSTM):
    def forward(self, x):
        return super().forward(x)[0]


def pool(kind, layer):
    return kind(layer.kernel_size, layer.stride, layer.padding)


def convolution(layer, inputs):
    options = {"stride": layer.stride, "padding": layer.padding, "bias": layer.bias}
    return nn.Conv2d(inputs, layer.out_channels, layer.kernel_size, **options)


MODULES = {
    spec.Conv2d: lambda layer, shape: convolution(layer, shape[0]),
    spec.Linear: lambda layer, shape: nn.Linear(shape[0], layer.out_features, bias=layer.bias),
    spec.BatchNorm2d: lambda layer, shape: nn.BatchNorm2d(shape[0], layer.eps, layer.momentum),
    spec.ReLU: lambda layer, shape: nn.ReLU(),
    spec.MaxPool2d: lambda layer, shape: pool(nn.MaxPool2d, layer),
    spec.AvgPool2d: lambda layer, shape: pool(nn.AvgPool2d, layer),
    spec.AdaptiveAvgPool2d: lambda layer, shape: nn.AdaptiveAvgPool2d(layer.output_size),
    spec.Flatten: lambda layer, shape: nn.Flatten(),
    spec.LogSoftmax: lambda layer, shape: nn.LogSoftmax(dim=1),
    spec.Rows: lambda layer, shape: Rows(),
    spec.Last: lambda layer, shape: Last(),
    spec.LSTM: lambda layer, shape: Lstm(shape[1], layer.hidden_size, layer.num_layers, batch_first=True),
}
LOSS_FUNCTIONS = {"cross_entropy": F.cross_entropy, "nll": F.nll_loss}
OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


class Net:
    """A model of the suite as modules of torch.nn."""

    def __init__(self, model):
        self._model, state = model, computed.start(model)
        parts = [node for node in model.walk() if type(node.layer) in MODULES]
        self.modules = {
            node.path: MODULES[type(node.layer)](node.layer, node.input_shape).to(WIDE) for node in parts
        }
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(torch.from_numpy(state[name]))

    def tensors(self):
        """Parameters and running statistics under their canonical names."""
        return {
            f"{path}.{name}": tensor
            for path, module in self.modules.items()
            for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers())
            if name != "num_batches_tracked"
        }

    def __call__(self, images, keys=()):
        """Logits, in training where there are dropout keys or `keys` is None."""
        for module in self.modules.values():
            module.train(keys != ())
        return self._run(self._model.nodes, images, keys)

    def _run(self, nodes, x, keys):
        for node in nodes:
            if isinstance(node.layer, spec.Residual):
                x = self._run(node.body, x, keys) + self._run(node.shortcut, x, keys)
            elif isinstance(node.layer, spec.Dropout):
                x = x if keys == () else x * mask(keys[node.dropout], node.layer.p, x.shape)
            else:
                x = self.modules[node.path](x)
        return x


def mask(key, p, shape):
    """What is kept is the plan's choice; what it is multiplied by is PyTorch's."""
    scale = F.dropout(torch.ones(99, dtype=WIDE), p, training=True).max()
    return torch.from_numpy(keep_mask(key, p, tuple(shape))) * scale


def tensors_of(data):
    """Images, normalised in float32 as a backend does it, and labels."""
    images = (data.images.astype(np.float32) / np.float32(255) - data.mean) / data.std
    return torch.from_numpy(images).to(WIDE), torch.from_numpy(data.labels)


def layer_case(case):
    images, labels = tensors_of(split(case.model))
    net, keys = Net(case.model), step_input(case.model).dropout_keys or None
    found = {"evaluation": net(images).detach()}
    logits = net(images, keys)
    found["training"] = logits.detach()
    F.cross_entropy(logits, labels).backward()
    tensors = net.tensors()
    found |= {name: tensor for name, tensor in tensors.items() if "running" in name}
    return found | {name: tensors[name].grad for name in case.model.trainable}


def loss_case(loss):
    images, labels = tensors_of(computed.LOSS_DATA)
    net = Net(computed.loss_model(loss))
    outputs = net(images)
    if loss.name == "mse":
        wanted = F.one_hot(labels, outputs.shape[1]).to(WIDE)
        reduced = F.mse_loss(outputs, wanted, reduction=loss.reduction)
    else:
        own = {"label_smoothing": loss.label_smoothing} if loss.name == "cross_entropy" else {}
        weights = None if loss.class_weights is None else torch.tensor(loss.class_weights, dtype=WIDE)
        function = LOSS_FUNCTIONS[loss.name]
        reduced = function(outputs, labels, weight=weights, reduction=loss.reduction, **own)
    reduced.backward()
    correct = (outputs.argmax(1) == labels).sum().to(WIDE)
    gradients = {name: tensor.grad for name, tensor in net.tensors().items()}
    return {"loss": reduced.detach(), "correct": correct} | gradients


def update_case(name):
    given, moved = computed.UPDATES[name], name.endswith(computed.SUFFIX)
    state = computed.biases_at_zero()
    parameters = {n: nn.Parameter(torch.from_numpy(state[n]).to(WIDE)) for n in MLP.trainable}
    own = {f.name for f in fields(given)} - {f.name for f in fields(Optimizer)}
    options = {key: getattr(given, key) for key in own} | {"lr": given.lr, "foreach": False}
    without_decay = {n for n in parameters if "bias" in given.decay_exclude and n.endswith("bias")}
    groups = [
        {"params": [parameters[n] for n in parameters if (n in without_decay) == excluded],
         "weight_decay": 0.0 if excluded else given.weight_decay}
        for excluded in (False, True)
    ]  # fmt: skip
    optimizer = OPTIMIZERS[given.name]([g for g in groups if g["params"]], **options)
    holder = nn.ParameterList(parameters.values())
    averages = None
    if given.ema is not None:
        averages = swa_utils.AveragedModel(holder, avg_fn=swa_utils.get_ema_avg_fn(given.ema))
    for number in range(1, computed.STEPS + 1):
        step = computed.fed_step(given, number, moved)
        for group in optimizer.param_groups:
            group["lr"] = step.lr
            if moved and "betas" in group:
                group["betas"] = step.momentum, group["betas"][1]
            elif moved:
                group["momentum"] = step.momentum
        take_gradients(given, number, parameters, without_decay)
        optimizer.step()
        if averages:
            averages.update_parameters(holder)
    found = {n: w.detach() for n, w in parameters.items()}
    for buffer in given.moments:
        found |= {f"{n}/{buffer}": optimizer.state[w][buffer] for n, w in parameters.items()}
    if averages:
        found |= {f"{n}/ema": average for n, average in zip(parameters, averages.module, strict=True)}
    return found | {"step": torch.tensor(computed.STEPS, dtype=WIDE)}


def take_gradients(given, number, parameters, without_decay):
    """Give each parameter its gradient, with the penalties, clipped."""
    gradients = computed.fed_gradients(number)
    for n, w in parameters.items():
        w.grad = torch.from_numpy(gradients[n]).to(WIDE)
        if n not in without_decay:
            w.grad += given.l1 * torch.sign(w.detach()) + given.l2 * w.detach()
    if given.clip_value is not None:
        nn.utils.clip_grad_value_(parameters.values(), given.clip_value)
    if given.clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters.values(), given.clip_norm)


def every_case():
    """Summaries of all cases, as lists of floats."""
    cases = {f"layers/{case.name}": layer_case(case) for case in LAYERS}
    cases |= {f"losses/{name}": loss_case(loss) for name, loss in LOSSES.items()}
    cases |= {f"optimizers/{name}": update_case(name) for name in computed.UPDATES}
    return {
        case: {
            name: published.summary(name, tensor.detach().numpy()).tolist()
            for name, tensor in tensors.items()
        }
        for case, tensors in cases.items()
    }


def main():
    """Write the file: a line for each case."""
    lines = []
    for case, tensors in every_case().items():
        short = {name: [float(f"{v:.{published.DIGITS}g}") for v in vs] for name, vs in tensors.items()}
        lines.append(f"{json.dumps(case)}: {json.dumps(short)}")
    published.FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")


if __name__ == "__main__":
    main()
