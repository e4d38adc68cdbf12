"""The NumPy reference's terms: formulas, evaluated, and run as statements."""

import re

import numpy as np
from xtrain_numpy.modules import windows

from xtrain.conformance.cases import MLP, step_input
from xtrain.conformance.parts import build


class Cells:
    """The uneven cells of an adaptive pool."""

    def __init__(self, x, count):
        bounds = [[(i * n // count, -(-(i + 1) * n // count)) for i in range(count)] for n in x.shape[2:]]
        self._parts = [[x[:, :, a:b, c:d] for c, d in bounds[1]] for a, b in bounds[0]]

    def mean(self):
        rows = [np.stack([part.mean((2, 3)) for part in row], -1) for row in self._parts]
        return np.stack(rows, -2)


def convolve(windows, weight):
    """Channels last, so that a bias can be added."""
    return np.einsum("bchwij,ocij->bhwo", windows, weight)


NAMES = {word: getattr(np, word) for word in ("maximum", "exp", "sqrt", "inf")}
NAMES |= {"windows": windows, "cells": Cells, "tensordot": convolve}
NAMES["log"] = lambda sums: np.log(sums).reshape(len(sums), -1)


def layer(words, node, term, more, before, after):
    """The value of a layer's term, with its tensors as they were; nothing where its statistics are not so."""
    x, own = more["x"], {name.rpartition(".")[2]: before[name] for name in node.tensors}
    if "tensordot" in term:
        return words.evaluate(term, **more | own).transpose(0, 3, 1, 2)
    if "sigmoid" in term:
        return recurrence(term, x, own)
    if "running" in term:
        count = x.size // x.shape[1]
        mean, var = (statistic((0, 2, 3), keepdims=True) for statistic in (x.mean, x.var))
        for name, value in (("running_mean", mean), ("running_var", var * count / (count - 1))):
            moved = {"running": own[name].copy(), "batch": value.ravel()}
            exec(term.partition("; ")[2], moved)
            if not np.allclose(moved["running"], after[f"{node.path}.{name}"]):
                return np.zeros(0)
        own = {name: own[name][:, None, None] for name in ("weight", "bias")} | {"mean": mean, "var": var}
    return words.evaluate(term, **more | own)


def recurrence(term, x, own):
    """The outputs of an LSTM by the formula in its term."""
    count, body, width = re.fullmatch(r"(\d+) x \((.*)\), N = (\d+)", term).groups()
    for number in range(int(count)):
        weights = {name.rpartition("_l")[0]: v for name, v in own.items() if name.endswith(f"_l{number}")}
        now = {"tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}
        now["h"] = now["c"] = np.zeros((len(x), int(width)))
        steps = []
        for t in range(x.shape[1]):
            raw = x[:, t] @ weights["weight_ih"].T + now["h"] @ weights["weight_hh"].T
            gates = np.split(raw + weights["bias_ih"] + weights["bias_hh"], 4, axis=1)
            now |= dict(zip("ifgo", gates, strict=True))
            exec(body, now)
            steps.append(now["h"])
        x = np.stack(steps, 1)
    return x


_LETTERS = {"exp_avg": "m", "exp_avg_sq": "v", "square_avg": "v", "momentum_buffer": "buffer"}


def check_optimizer(backend, words, spec, terms):
    """The terms, run as statements, give the weights and buffers after the second of two steps."""
    built, rng = build(backend, MLP, spec), np.random.default_rng(1)
    gradients = {name: rng.normal(size=MLP.tensors[name].shape) for name in MLP.trainable}
    built.optimizer.step(gradients, step_input(MLP))
    weights, old = built.model.state(), built.optimizer.state()
    built.optimizer.step(gradients, step_input(MLP, 2))
    after, new = built.model.state(), built.optimizer.state()
    for name, g in prepared(spec, terms, weights, gradients).items():
        now = {"w": weights[name].copy(), "g": g, "lr": 0.05, "t": 2, "sqrt": np.sqrt}
        now |= {_LETTERS.get(buffer, buffer): new[f"{name}/{buffer}"] for buffer in spec.moments}
        now |= {"mean": lambda g, name=name: new[f"{name}/grad_avg"]}
        run(now, spec, terms, name in spec.decayed(MLP), old.get(f"{name}/momentum_buffer"))
        if not np.allclose(now["w"], after[name], rtol=1e-9, atol=1e-12):
            yield f"{name} is not what the terms give: {terms}"
        if spec.ema is not None:
            average = eval(terms["ema"], {"average": old[f"{name}/ema"], "w": after[name]})  # noqa: S307
            if not np.allclose(average, new[f"{name}/ema"]):
                yield f"the average of {name} is not {terms['ema']}"


def run(now, spec, terms, decayed, buffer):
    """The statements of a step in their order; `buffer` is that of the momentum before it."""
    if spec.weight_decay and decayed:
        exec(terms["weight_decay"] if "=" in terms["weight_decay"] else f"g = {terms['weight_decay']}", now)
    if "lr_decay" in terms:
        exec(f"lr = {terms['lr_decay']}", now)
    for key in ("betas", "eps", "centered"):
        exec(terms.get(key, ""), now)
    first, *rest = (part for part in terms["name"].split(", ") if "sum +=" not in part)
    exec("\n".join(rest), now)
    if getattr(spec, "momentum", 0):
        now |= {"buffer": buffer, "momentum": spec.momentum}
        exec(terms.get("dampening", "").partition(" from ")[0], now)
        exec(terms["momentum"], now)
        exec(terms.get("nesterov", ""), now)
    exec(first, now)


def prepared(spec, terms, weights, gradients):
    """The gradients after penalties and clipping, by the terms."""
    ready = {}
    for name, g in gradients.items():
        now = {"g": g, "w": weights[name], "sign": np.sign, "clip": np.clip}
        penalties = ("l1", "l2") if name in spec.decayed(MLP) else ()
        for key in (*penalties, *(("clip_value",) if spec.clip_value else ())):
            exec(f"g = {terms[key]}", now)
        ready[name] = now["g"]
    if spec.clip_norm is None:
        return ready
    norm, term = np.sqrt(sum((g**2).sum() for g in ready.values())), terms["clip_norm"].partition(", all")[0]
    return {name: eval(term, {"g": g, "norm": norm}) for name, g in ready.items()}  # noqa: S307 - our own
