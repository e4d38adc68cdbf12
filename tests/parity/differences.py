"""Wrong backends for the parity tools: known differences between frameworks, one each.

Some are the conformance suite's mutants; what it has no need of stands here. Each comes with the recipe that
shows it, and with what `xtrain bisect` must say of it: phase, layer, cause.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from xtrain_numpy.dataset import NumpyDataset
from xtrain_numpy.loop import NumpyLoop
from xtrain_numpy.optimizer import NumpyOptimizer

from tests.backends.mutants import PLUGINS, Plugin, respecified, right_layer, wrong_layer, wrong_update
from xtrain.recipe import parse
from xtrain.spec import AdamW
from xtrain.spec import layers as spec

LAYERS = [
    {"op": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"op": "batch_norm2d"},
    {"op": "relu"},
    {"op": "avg_pool2d", "kernel_size": 3, "stride": 2, "padding": 1},
    {"op": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"op": "max_pool2d", "kernel_size": 2},
    {"op": "flatten"},
    {"op": "dropout", "p": 0.25},
    {"op": "linear", "out_features": 16},
    {"op": "relu"},
    {"op": "linear", "out_features": 10},
]
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}


@dataclass(frozen=True)
class Case:
    """A wrong backend, and what is said of it."""

    plugin: Plugin
    phase: str
    layer: str
    cause: str
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def backend(self):
        return self.plugin.xtrain_backend("cpu", None)

    @property
    def job(self):
        """Digits through every kind of layer, with the section that shows the mistake."""
        sections = {
            "name": "differences",
            "data": {"name": "digits", "batch_size": 32},
            "model": {"layers": LAYERS},
            "optimizer": SGD,
            "loop": {"epochs": 2},
        }
        return parse(sections | self.changes, where="a test").bind(where="a test")


def _with(**changes):
    """A layer's lowering with other options."""
    return lambda node, layer: right_layer(node, replace(layer, **changes))


def _altered(which, change):
    """A layer that reads one of its tensors otherwise."""

    def lower(node, layer):
        forward, name = right_layer(node, layer), f"{node.path}.{which}"

        def wrong(tensors, x, noise):
            return forward({**tensors, name: change(tensors[name])} if name in tensors else tensors, x, noise)

        return wrong

    return lower


def _square_only(weight):
    return weight.swapaxes(0, 1) if weight.shape[0] == weight.shape[1] else weight


def _tf32(value):
    bits = value.astype(np.float32).view(np.uint32).astype(np.uint64) + (1 << 12)
    return (bits >> 13 << 13).astype(np.uint32).view(np.float32).astype(np.float64)


def _linear_tf32(node, layer):
    right = right_layer(node, layer)
    name = f"{node.path}.weight"
    return lambda tensors, x, noise: right({**tensors, name: _tf32(tensors[name])}, _tf32(x), noise)


def _conv_edge(node, layer):
    right = right_layer(node, replace(layer, padding=0))

    def forward(tensors, x, noise):
        p = layer.padding
        y, backward = right(tensors, np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), mode="edge"), noise)
        return y, lambda dy, gradients: backward(dy, gradients)[:, :, p:-p, p:-p]

    return forward


def _dropout_kept_share(node, layer):
    return right_layer(node, replace(layer, p=1 - layer.p))


def _batch_norm_still(node, layer):
    return right_layer(node, replace(layer, momentum=0.0))


def _adam_eps_uncorrected(given):
    def update(given, w, g, held, decay, now):
        (b1, b2), t = given.betas, now.updates
        m, v = held["exp_avg"], held["exp_avg_sq"]
        m[...], v[...] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w -= now.lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + given.eps)

    return update


def _sgd_averaged(given):
    def update(given, w, g, held, decay, now):
        buffer = held["momentum_buffer"]
        buffer[...] = given.momentum * buffer + (1 - given.momentum) * (g + decay * w)
        w -= now.lr * buffer

    return update


def _sgd_lr_inside(given):
    def update(given, w, g, held, decay, now):
        buffer = held["momentum_buffer"]
        buffer[...] = given.momentum * buffer + now.lr * (g + decay * w)
        w -= buffer

    return update


class StartsAtOne(NumpyOptimizer):
    """RMSprop as if the mean square had been 1 before."""

    def step(self, gradients, step):
        if not self._updates:
            for name, buffer in self._buffers.items():
                if name.endswith("/square_avg"):
                    buffer[...] = 1
        super().step(gradients, step)


class LateLr(NumpyOptimizer):
    """The learning rate of the step before, in the warm-up of `WARMED`."""

    def step(self, gradients, step):
        late = step.lr / 100**0.1 if step.number > 1 else step.lr
        super().step(gradients, replace(step, lr=late))


class FirstLr(NumpyOptimizer):
    """The optimizer's own learning rate, at every step."""

    def step(self, gradients, step):
        super().step(gradients, replace(step, lr=self._spec.lr))


class Summed(NumpyLoop):
    """Gradients that are not divided by the samples."""

    def _backward(self, batches, step):
        return super()._backward(batches, replace(step, share=1.0))


class SummedLoss(NumpyLoop):
    """A loss that is a sum where it should be a mean."""

    def train_step(self, batches, step):
        return _times(super().train_step(batches, step), sum(len(labels) for _, labels in batches))

    def eval_step(self, batch):
        return _times(super().eval_step(batch), len(batch[1]))


def _times(handle, samples):
    return [(loss * samples, correct) for loss, correct in handle]


class StepOfItsOwn(NumpyLoop):
    """A fast path that is not the sum of its parts: it steps twice."""

    def train_step(self, batches, step):
        metrics = super().train_step(batches, step)
        super().train_step(batches, step)
        return metrics


class NotNormalised(NumpyDataset):
    """Pixel values from 0 to 1."""

    def batches(self, draws):
        for images, labels in super().batches(draws):
            yield images * self._split.std + self._split.mean, labels


def _optimizer(kind):
    return lambda self, given, model: kind(given, model)


def _loop(kind):
    return lambda self, model, loss, optimizer: kind(model, loss, optimizer)


def _layer(name, kind, lowering):
    return wrong_layer(name, kind, lowering)


ADAM = {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01, "eps": 1e-4}}
ADAMW = {"optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}}
RMSPROP = {"optimizer": {"name": "rmsprop", "lr": 0.01, "eps": 1e-3}}
NESTEROV = {"optimizer": SGD | {"nesterov": True}}
WARMED = {"schedule": {"name": "constant", "warmup": {"length": 10, "kind": "exponential"}}}
SMOOTHED = {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}}
WEIGHED = {"loss": {"name": "cross_entropy", "class_weights": [0.5] * 5 + [2.0] * 5}}
MIXED_DECAY = {"optimizer": SGD | {"decay_exclude": ["bias", "norm"]}}
CLIPPED = {"optimizer": SGD | {"clip_norm": 0.1}}
AVERAGED = {"optimizer": {"name": "sgd", "lr": 0.05, "ema": 0.9}}
DAMPENED = {"optimizer": SGD | {"dampening": 0.5}}
MOVING = {"schedule": {"name": "one_cycle"}}
LSTM = {
    "model": {
        "layers": [
            {"op": "rows"},
            {"op": "lstm", "hidden_size": 8},
            {"op": "last"},
            {"op": "linear", "out_features": 10},
        ]
    }
}

_DECAY = "weight decay is decoupled where it should be coupled, or the other way round"

CASES = {
    "mirrored": Case(PLUGINS["mirrored"], "data", "", "images are mirrored"),
    "not_normalised": Case(
        Plugin("not_normalised", dataset=lambda self, split: NotNormalised(split)),
        "data",
        "",
        "images are not normalised: values 0 to 1",
    ),
    "weight_transposed": Case(
        _layer("weight_transposed", spec.Linear, _altered("weight", _square_only)),
        "forward",
        "fc1",
        "the weight is transposed",
    ),
    "kernels_turned": Case(
        _layer("kernels_turned", spec.Conv2d, _altered("weight", lambda w: w[..., ::-1, ::-1])),
        "forward",
        "conv1",
        "kernels are turned: a convolution, not a cross-correlation",
    ),
    "bias_ignored": Case(
        _layer("bias_ignored", spec.Linear, _altered("bias", np.zeros_like)),
        "forward",
        "fc1",
        "the bias is ignored",
    ),
    "padding_of_edges": Case(
        _layer("padding_of_edges", spec.Conv2d, _conv_edge),
        "forward",
        "conv1",
        "padding: the nearest pixels, not zeros",
    ),
    "avg_pool_exclusive": Case(
        PLUGINS["avg_pool_exclusive"], "forward", "pool1", "padding: padded zeros do not count in the mean"
    ),
    "batch_norm_eps": Case(
        _layer("batch_norm_eps", spec.BatchNorm2d, _with(eps=1e-3)),
        "forward",
        "bn1",
        "epsilon is 0.001",
    ),
    "dropout_unscaled": Case(
        PLUGINS["dropout_unscaled"], "forward", "dropout1", "dropout: what is kept is not scaled"
    ),
    "dropout_kept_share": Case(
        _layer("dropout_kept_share", spec.Dropout, _dropout_kept_share),
        "forward",
        "dropout1",
        "dropout: p is the share that is kept",
    ),
    "flatten_channels_last": Case(
        PLUGINS["flatten_channels_last"], "forward", "flatten1", "channels are flattened last"
    ),
    "tf32": Case(
        _layer("tf32", spec.Linear, _linear_tf32), "forward", "fc1", "products of TF32: operands of 10 bits"
    ),
    "lstm_gates_swapped": Case(
        PLUGINS["lstm_gates_swapped"], "forward", "lstm1", "gates are in the order i, f, o, g", LSTM
    ),
    "smoothing_ignored": Case(
        PLUGINS["smoothing_ignored"], "loss", "", "label smoothing is ignored", SMOOTHED
    ),
    "summed_loss": Case(
        Plugin("summed_loss", loop=_loop(SummedLoss)),
        "loss",
        "",
        "reduction: the sum over the samples, not their mean",
    ),
    "counts_samples": Case(
        PLUGINS["counts_samples"],
        "loss",
        "",
        "the mean divides by the samples, not by their weights",
        WEIGHED,
    ),
    "summed_gradients": Case(
        Plugin("summed_gradients", loop=_loop(Summed)),
        "backward",
        "fc2",
        "reduction: the sum over the samples, not their mean",
    ),
    "adam_eps_inside": Case(
        PLUGINS["adam_eps_inside"], "optimizer", "conv1", "epsilon is inside the root", ADAM
    ),
    "adam_eps_uncorrected": Case(
        wrong_update("adam_eps_uncorrected", _adam_eps_uncorrected),
        "optimizer",
        "conv1",
        "epsilon is added before the bias correction",
        {"optimizer": ADAM["optimizer"] | {"weight_decay": 0.0}},
    ),
    "adam_uncorrected": Case(
        PLUGINS["adam_uncorrected"], "optimizer", "conv1", "the bias correction is missing", ADAM
    ),
    "adam_decoupled": Case(
        respecified("adam_decoupled", lambda s: AdamW(lr=s.lr, eps=s.eps, weight_decay=s.weight_decay)),
        "optimizer",
        "conv1",
        _DECAY,
        ADAM,
    ),
    "adamw_coupled": Case(PLUGINS["adamw_coupled"], "optimizer", "conv1", _DECAY, ADAMW),
    "sgd_decay_decoupled": Case(PLUGINS["sgd_decay_decoupled"], "optimizer", "conv1", _DECAY),
    "decay_ignored": Case(
        respecified("decay_ignored", lambda s: replace(s, weight_decay=0.0)),
        "optimizer",
        "conv1",
        "weight decay is ignored",
    ),
    "biases_decayed": Case(
        PLUGINS["biases_decayed"],
        "optimizer",
        "conv1",
        "weight decay reaches what decay_exclude leaves out",
        MIXED_DECAY,
    ),
    "sgd_dampened_first": Case(
        PLUGINS["sgd_dampened_first"], "optimizer", "conv1", "the first step is dampened", DAMPENED
    ),
    "sgd_averaged": Case(
        wrong_update("sgd_averaged", _sgd_averaged),
        "optimizer",
        "conv1",
        "the momentum buffer is an average, from the first step on",
    ),
    "sgd_lr_inside": Case(
        wrong_update("sgd_lr_inside", _sgd_lr_inside),
        "optimizer",
        "conv1",
        "the learning rate is inside the momentum buffer",
    ),
    "nesterov_ignored": Case(
        PLUGINS["nesterov_ignored"], "optimizer", "conv1", "nesterov is ignored", NESTEROV
    ),
    "late_lr": Case(
        Plugin("late_lr", optimizer=_optimizer(LateLr)),
        "optimizer",
        "conv1",
        "the learning rate is that of the step before",
        WARMED,
    ),
    "first_lr": Case(
        Plugin("first_lr", optimizer=_optimizer(FirstLr)),
        "optimizer",
        "conv1",
        "the learning rate is the optimizer's own: the schedule is ignored",
        WARMED,
    ),
    "momentum_still": Case(
        PLUGINS["momentum_still"], "optimizer", "conv1", "the momentum does not follow the schedule", MOVING
    ),
    "rmsprop_eps_inside": Case(
        PLUGINS["rmsprop_eps_inside"], "optimizer", "conv1", "epsilon is inside the root", RMSPROP
    ),
    "rmsprop_starts_at_one": Case(
        Plugin("rmsprop_starts_at_one", optimizer=_optimizer(StartsAtOne)),
        "optimizer",
        "conv1",
        "the mean square starts at 1",
        RMSPROP,
    ),
    "clips_each_tensor": Case(
        PLUGINS["clips_each_tensor"],
        "optimizer",
        "conv1",
        "each gradient is clipped by its own norm",
        CLIPPED,
    ),
    "averages_from_zero": Case(
        PLUGINS["averages_from_zero"],
        "optimizer",
        "conv1",
        "averages of the weights start from zero",
        AVERAGED,
    ),
    "batch_norm_biased": Case(
        PLUGINS["batch_norm_biased"],
        "buffers",
        "bn1",
        "the running variance is biased: divided by n, not n - 1",
    ),
    "batch_norm_momentum_inverted": Case(
        PLUGINS["batch_norm_momentum_inverted"],
        "buffers",
        "bn1",
        "the momentum of the running statistics is inverted",
    ),
    "batch_norm_still": Case(
        _layer("batch_norm_still", spec.BatchNorm2d, _batch_norm_still),
        "buffers",
        "bn1",
        "the running statistics do not move",
    ),
    "step_of_its_own": Case(Plugin("step_of_its_own", loop=_loop(StepOfItsOwn)), "step", "conv1", ""),
}
