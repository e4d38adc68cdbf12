"""Swish, PReLU and focal loss for the NumPy backend: each with its gradient."""

import numpy as np
from xtrain_numpy.layers import register
from xtrain_numpy.losses import LOSSES

from xtrain_example.focal import Focal
from xtrain_example.prelu import PReLU
from xtrain_example.swish import Swish


@register(Swish, "x / (1 + exp(-{beta} * x))")
def swish(node, layer, tensors, x, noise):
    """The derivative is s + beta * x * s * (1 - s), with s = sigmoid(beta * x)."""
    s = 1 / (1 + np.exp(-layer.beta * x))
    return x * s, lambda dy, gradients: dy * (s + layer.beta * x * s * (1 - s))


@register(PReLU, "maximum(x, 0) + weight * minimum(x, 0)")
def prelu(node, layer, tensors, x, noise):
    """The parameter and its gradient stand under the canonical name: the layer's path, and its own."""
    name = f"{node.path}.weight"
    a = tensors[name][:, None, None]

    def backward(dy, gradients):
        gradients[name] = (dy * np.minimum(x, 0)).sum(axis=(0, 2, 3))
        return np.where(x > 0, dy, a * dy)

    return np.maximum(x, 0) + a * np.minimum(x, 0), backward


@LOSSES.register(Focal, "-((1 - p) ** {gamma} * log(p)).sum() / samples")
def focal(loss, logits, labels):
    """The gradient by log p is -(1 - p)^gamma + gamma * p * (1 - p)^(gamma - 1) * log p."""
    rows = np.arange(len(labels))
    z = logits - logits.max(axis=1, keepdims=True)
    log_softmax = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    softmax, log_p = np.exp(log_softmax), log_softmax[rows, labels]
    p = np.exp(log_p)
    by_log_p = -((1 - p) ** loss.gamma) + loss.gamma * p * (1 - p) ** (loss.gamma - 1) * log_p
    gradient = -softmax * by_log_p[:, None]
    gradient[rows, labels] += by_log_p
    return float(-((1 - p) ** loss.gamma * log_p).sum()), gradient
