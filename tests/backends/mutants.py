"""Backends that are wrong on purpose: the NumPy reference with one mistake each.

Each is a plugin object of its own; `test_mutants.py` offers them by entry points in a temporary folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from xtrain_numpy.backend import NumpyBackend
from xtrain_numpy.dataset import NumpyDataset
from xtrain_numpy.layers import LAYERS
from xtrain_numpy.loop import NumpyLoop
from xtrain_numpy.model import NumpyModel
from xtrain_numpy.optimizer import NumpyOptimizer

from xtrain.plugins import hookimpl
from xtrain.spec import Adam, Probe, keep_mask
from xtrain.spec import layers as spec


class Plugin:
    """Offers one mutant."""

    def __init__(self, name: str, **parts: Any) -> None:
        self._backend = type("Mutant", (NumpyBackend,), {"name": name, **parts})

    @hookimpl
    def xtrain_backend(self, device: str, threads: int | None) -> Any:
        return self._backend(device, threads)


def lowering(kind: type, function: Callable[..., Any]) -> Any:
    """For the time of a `with`, another lowering of one layer in the table."""
    return patch.dict(LAYERS._found, {kind: (function, "wrong")})


_RIGHT = dict(LAYERS._found)


def right_layer(node: Any, layer: Any) -> Callable[..., Any]:
    """What the reference makes of a layer, whatever stands in the table now."""
    return _RIGHT[type(layer)][0](node, layer)


def wrong_layer(name: str, kind: type, function: Callable[..., Any]) -> Plugin:
    """A mutant whose lowering of one layer is wrong; the reference beside it keeps the right one."""

    class Model(NumpyModel):
        def __init__(self, *args: Any) -> None:
            with lowering(kind, function):
                super().__init__(*args)

        def trace(self, *args: Any) -> Any:
            with lowering(kind, function):
                return super().trace(*args)

    return Plugin(name, model=lambda self, model: Model(model))


def wrong_update(name: str, make: Callable[[Any], Callable[..., None]]) -> Plugin:
    """A mutant whose update formula is wrong."""

    def optimizer(self: Any, given: Any, model: NumpyModel) -> NumpyOptimizer:
        lowered = NumpyOptimizer(given, model)
        lowered._update = make(given) or lowered._update
        return lowered

    return Plugin(name, optimizer=optimizer)


def respecified(name: str, change: Callable[[Any], Any]) -> Plugin:
    """A mutant that reads an optimizer's options wrongly."""
    return Plugin(name, optimizer=lambda self, given, model: NumpyOptimizer(change(given), model))


def _adam(eps_inside: bool, corrected: bool) -> Callable[[Any], Any]:
    def make(given: Any) -> Any:
        if given.name != "adam":
            return None
        b1, b2 = given.betas

        def update(given: Any, w: Any, g: Any, held: Any, decay: float, now: Any) -> None:
            g, t = g + decay * w, now.updates
            m, v = held["exp_avg"], held["exp_avg_sq"]
            m[...], v[...] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            first, second = (1 - b1**t, 1 - b2**t) if corrected else (1, 1)
            root = np.sqrt(v / second + given.eps) if eps_inside else np.sqrt(v / second) + given.eps
            w -= now.lr / first * m / root

        return update

    return make


def _sgd(dampen_first: bool = False, decoupled: bool = False) -> Callable[[Any], Any]:
    def make(given: Any) -> Any:
        if given.name != "sgd":
            return None

        def update(given: Any, w: Any, g: Any, held: Any, decay: float, now: Any) -> None:
            penalty = decay * w
            g = g if decoupled else g + penalty
            if given.momentum:
                buffer = held["momentum_buffer"]
                new = (1 - given.dampening) * g if now.updates > 1 or dampen_first else g
                buffer[...] = given.momentum * buffer + new
                g = g + given.momentum * buffer if given.nesterov else buffer
            w -= now.lr * (g + penalty if decoupled else g)

        return update

    return make


def _rmsprop_eps_inside(given: Any) -> Any:
    if given.name != "rmsprop":
        return None

    def update(given: Any, w: Any, g: Any, held: Any, decay: float, now: Any) -> None:
        g = g + decay * w
        v = held["square_avg"]
        v[...] = given.alpha * v + (1 - given.alpha) * g**2
        w -= now.lr * g / np.sqrt(v + given.eps)

    return update


class AveragesFromZero(NumpyOptimizer):
    """Moving averages that start at zero."""

    def step(self, gradients: Any, step: Any) -> None:
        before = {name: self._buffers[name].copy() for name in self._buffers if name.endswith("/ema")}
        super().step(gradients, step)
        for name, average in before.items():
            parameter = self._parameters[name.removesuffix("/ema")]
            self._buffers[name][...] = average + (1 - self._spec.ema) * (parameter - average)


class ClipsEachTensor(NumpyOptimizer):
    """A gradient norm of each tensor, not of all together."""

    def _clip_norm(self, gradients: Any, most: float) -> Any:
        parts = [super(ClipsEachTensor, self)._clip_norm({name: g}, most) for name, g in gradients.items()]
        return {name: g for part in parts for name, g in part.items()}


class CountsSamples(NumpyLoop):
    """A mean that divides by the samples, whatever they weigh."""

    def __init__(self, model: Any, loss: Any, optimizer: Any) -> None:
        super().__init__(model, loss, optimizer)
        right = self._loss_sum

        def wrong(outputs: Any, labels: Any) -> Any:
            by_class = np.ones(outputs.shape[1]) if loss.class_weights is None else loss.class_weights
            share = np.mean(np.array(by_class)[labels])
            return tuple(part * share for part in right(outputs, labels))

        self._loss_sum = wrong


def _lstm_gates_swapped(node: Any, layer: Any) -> Any:
    """Gates in the order i, f, o, g."""
    right = right_layer(node, layer)
    hidden = layer.hidden_size

    def swapped(value: Any) -> Any:
        return np.concatenate([value[: 2 * hidden], value[3 * hidden :], value[2 * hidden : 3 * hidden]])

    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        other = {n: swapped(v) if n.startswith(f"{node.path}.") else v for n, v in tensors.items()}
        return right(other, x, noise)

    return forward


def _dropout(scaled: bool, shifted: int) -> Callable[..., Any]:
    def lower(node: Any, layer: Any) -> Any:
        def forward(tensors: Any, x: Any, noise: Any) -> Any:
            if noise is None:
                return x, lambda dy, gradients: dy
            mask = keep_mask(noise[1 + node.dropout] + shifted, layer.p, x.shape, noise[0])
            mask = mask / (1 - layer.p) if scaled else mask
            return x * mask, lambda dy, gradients: dy * mask

        return forward

    return lower


def _max_pool_last(node: Any, layer: Any) -> Any:
    right = right_layer(node, layer)

    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        y, backward = right(tensors, x[:, :, ::-1, ::-1], noise)
        turned = y[:, :, ::-1, ::-1]
        return turned, lambda dy, grads: backward(dy[:, :, ::-1, ::-1], grads)[:, :, ::-1, ::-1]

    return forward


def _relu_one_at_zero(node: Any, layer: Any) -> Any:
    return lambda tensors, x, noise: (np.maximum(x, 0), lambda dy, gradients: dy * (x >= 0))


def _flatten_channels_last(node: Any, layer: Any) -> Any:
    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        if x.ndim != 4:
            return right_layer(node, layer)(tensors, x, noise)
        y = x.transpose(0, 2, 3, 1)
        return y.reshape(len(x), -1), lambda dy, gradients: dy.reshape(y.shape).transpose(0, 3, 1, 2)

    return forward


def _avg_pool_without_padding(node: Any, layer: Any) -> Any:
    right = right_layer(node, layer)

    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        share = right(tensors, np.ones_like(x), noise)[0]
        y, backward = right(tensors, x, noise)
        return y / share, lambda dy, gradients: backward(dy / share, gradients)

    return forward


def _batch_norm(biased: bool, inverted: bool) -> Callable[..., Any]:
    def lower(node: Any, layer: Any) -> Any:
        momentum = 1 - layer.momentum if inverted else layer.momentum
        right = right_layer(node, replace(layer, momentum=momentum))

        def forward(tensors: Any, x: Any, noise: Any) -> Any:
            name = f"{node.path}.running_var"
            before = tensors[name].copy()
            result = right(tensors, x, noise)
            if biased and noise is not None:
                count = x.size // x.shape[1]
                new = (tensors[name] - (1 - momentum) * before) * (count - 1) / count
                tensors[name][...] = (1 - momentum) * before + new
            return result

        return forward

    return lower


def _conv_without_padding_gradient(node: Any, layer: Any) -> Any:
    right = right_layer(node, layer)

    def forward(tensors: Any, x: Any, noise: Any) -> Any:
        y, backward = right(tensors, x, noise)

        def back(dy: Any, gradients: Any) -> Any:
            dx = backward(dy, gradients)
            dx[:, :, 0, :] = 0
            return dx

        return y, back

    return forward


class MeanOfMeans(NumpyLoop):
    """Accumulation that averages the batches' means, whatever their sizes."""

    def _backward(self, batches: Sequence[Any], step: Any) -> Any:
        parts = []
        for index, batch in enumerate(batches):
            share, first_rows = 1 / len(batches) / len(batch[1]), (step.first_rows[index],)
            alone = replace(step, share=share, first_rows=first_rows)
            parts.append(super()._backward([batch], alone))
        gradients = {name: sum(g[name] for _, g in parts) for name in parts[0][1]}
        return [part for handle, _ in parts for part in handle], gradients


class RowsFromZero(NumpyLoop):
    """Masks that are counted from each batch's own first row."""

    def _backward(self, batches: Sequence[Any], step: Any) -> Any:
        return super()._backward(batches, replace(step, first_rows=(0,) * len(batches)))


class WithoutDropout(NumpyModel):
    """A step without keys is taken for one without dropout."""

    def noise(self, step: Any, batch: int = 0) -> Any:
        keys = step.dropout_keys or (0,) * len(self.spec.dropouts)
        return super().noise(replace(step, dropout_keys=keys[: len(self.spec.dropouts)]), batch)


class DividesItself(NumpyLoop):
    """A mean over the batches it sees, though the step may be larger than they are."""

    def gradients(self, batch: Any, step: Any) -> Any:
        return super().gradients(batch, replace(step, share=1 / len(batch[1])))


class TrainingInEvaluation(NumpyLoop):
    """Evaluation that forgets to leave training mode."""

    def eval_step(self, batch: Any) -> Any:
        self._model.forward(batch[0], (0, *[1] * len(self._model.spec.dropouts)))
        return super().eval_step(batch)


class CappedLoss(NumpyLoop):
    """log_softmax with a floor at -64."""

    def eval_step(self, batch: Any) -> Any:
        return [(min(loss, 64.0 * len(batch[1])), correct) for loss, correct in super().eval_step(batch)]


class MirroredTooOften(NumpyDataset):
    """Every image mirrored."""

    def batches(self, draws: Any) -> Any:
        for images, labels in super().batches(draws):
            yield np.ascontiguousarray(images[..., ::-1]), labels


class OneBuffer(NumpyDataset):
    """All batches in the same memory."""

    def batches(self, draws: Any) -> Any:
        buffer: Any = None
        for images, labels in super().batches(draws):
            if buffer is None or len(buffer) < len(images):
                buffer = np.empty_like(images)
            buffer[: len(images)] = images
            yield buffer[: len(images)], labels


class SharedState(NumpyModel):
    """A state that is not a copy."""

    def state(self) -> Any:
        return self.tensors


class ForgetsItsState(NumpyOptimizer):
    """A load that drops the buffers."""

    def load(self, state: Any) -> None:
        self._updates = int(state["step"])


def _fields(given: Any, *left_out: str) -> dict[str, Any]:
    return {f.name: getattr(given, f.name) for f in fields(given) if f.name not in left_out}


def _loop(kind: type) -> Callable[..., Any]:
    return lambda self, model, loss, optimizer: kind(model, loss, optimizer)


# Name, the test that must catch it, the plugin.
MUTANTS: dict[str, tuple[str, Plugin]] = {
    "adam_eps_inside": ("ten_steps_on_fed", wrong_update("adam_eps_inside", _adam(True, True))),
    "adam_uncorrected": ("ten_steps_on_fed", wrong_update("adam_uncorrected", _adam(False, False))),
    "sgd_dampened_first": ("ten_steps_on_fed", wrong_update("sgd_dampened_first", _sgd(dampen_first=True))),
    "sgd_decay_decoupled": ("ten_steps_on_fed", wrong_update("sgd_decay_decoupled", _sgd(decoupled=True))),
    "nesterov_ignored": (
        "ten_steps_on_fed",
        respecified("nesterov_ignored", lambda s: replace(s, nesterov=False) if s.name == "sgd" else s),
    ),
    "rmsprop_eps_inside": ("ten_steps_on_fed", wrong_update("rmsprop_eps_inside", _rmsprop_eps_inside)),
    "adamw_coupled": (
        "ten_steps_on_fed",
        respecified("adamw_coupled", lambda s: Adam(**_fields(s, "name")) if s.name == "adamw" else s),
    ),
    "biases_decayed": (
        "ten_steps_on_fed",
        respecified("biases_decayed", lambda s: replace(s, decay_exclude=())),
    ),
    "momentum_still": (
        "momentum_that_moves",
        wrong_update("momentum_still", _sgd()),
    ),
    "clips_each_tensor": (
        "ten_steps_on_fed",
        Plugin("clips_each_tensor", optimizer=lambda self, s, model: ClipsEachTensor(s, model)),
    ),
    "averages_from_zero": (
        "ten_steps_on_fed",
        Plugin("averages_from_zero", optimizer=lambda self, s, model: AveragesFromZero(s, model)),
    ),
    "counts_samples": ("test_gradients", Plugin("counts_samples", loop=_loop(CountsSamples))),
    "smoothing_ignored": (
        "test_figures",
        Plugin(
            "smoothing_ignored",
            loop=lambda self, model, loss, optimizer: NumpyLoop(
                model, replace(loss, label_smoothing=0.0) if loss.name == "cross_entropy" else loss, optimizer
            ),
        ),
    ),
    "precision_ignored": (
        "follow_float32_from_afar",
        Plugin(
            "precision_ignored",
            probe=lambda self: Probe(
                "1", ("cpu",), ("float64", "bf16"), notes={"precision": "it has only these"}
            ),
        ),
    ),
    "lstm_gates_swapped": (
        "test_output",
        wrong_layer("lstm_gates_swapped", spec.LSTM, _lstm_gates_swapped),
    ),
    "buffers_forgotten": (
        "state_goes_on",
        Plugin("buffers_forgotten", optimizer=lambda self, s, model: ForgetsItsState(s, model)),
    ),
    "dropout_unscaled": ("test_output", wrong_layer("dropout_unscaled", spec.Dropout, _dropout(False, 0))),
    "dropout_other_mask": (
        "dropout_masks",
        wrong_layer("dropout_other_mask", spec.Dropout, _dropout(True, 1)),
    ),
    "max_pool_last_tie": (
        "first_of_equals",
        wrong_layer("max_pool_last_tie", spec.MaxPool2d, _max_pool_last),
    ),
    "relu_one_at_zero": (
        "no_gradient_at_zero",
        wrong_layer("relu_one_at_zero", spec.ReLU, _relu_one_at_zero),
    ),
    "flatten_channels_last": (
        "test_output",
        wrong_layer("flatten_channels_last", spec.Flatten, _flatten_channels_last),
    ),
    "avg_pool_exclusive": (
        "test_output",
        wrong_layer("avg_pool_exclusive", spec.AvgPool2d, _avg_pool_without_padding),
    ),
    "batch_norm_biased": (
        "state_after_training",
        wrong_layer("batch_norm_biased", spec.BatchNorm2d, _batch_norm(True, False)),
    ),
    "batch_norm_momentum_inverted": (
        "state_after_training",
        wrong_layer("batch_norm_momentum_inverted", spec.BatchNorm2d, _batch_norm(False, True)),
    ),
    "conv_gradient_edge": (
        "test_gradients",
        wrong_layer("conv_gradient_edge", spec.Conv2d, _conv_without_padding_gradient),
    ),
    "mean_of_means": ("several_batches", Plugin("mean_of_means", loop=_loop(MeanOfMeans))),
    "rows_from_zero": ("several_batches_are_one_update", Plugin("rows_from_zero", loop=_loop(RowsFromZero))),
    "without_dropout": (
        "without_its_dropout_keys",
        Plugin("without_dropout", model=lambda self, s: WithoutDropout(s)),
    ),
    "divides_itself": ("share_that_is_given", Plugin("divides_itself", loop=_loop(DividesItself))),
    "training_in_evaluation": (
        "evaluation_changes_nothing",
        Plugin("training_in_evaluation", loop=_loop(TrainingInEvaluation)),
    ),
    "capped_loss": ("large_logits", Plugin("capped_loss", loop=_loop(CappedLoss))),
    "mirrored": ("test_batches", Plugin("mirrored", dataset=lambda self, split: MirroredTooOften(split))),
    "one_buffer": ("test_batches", Plugin("one_buffer", dataset=lambda self, split: OneBuffer(split))),
    "shared_state": ("state_round_trip", Plugin("shared_state", model=lambda self, s: SharedState(s))),
}

PLUGINS = {name: plugin for name, (_, plugin) in MUTANTS.items()}
globals().update(PLUGINS)
