"""Swish, PReLU and focal loss for the torch backend."""

import torch
import torch.nn.functional as F
from torch import nn
from xtrain_torch.layers import LAYERS
from xtrain_torch.losses import LOSSES

from xtrain_example.focal import Focal
from xtrain_example.prelu import PReLU
from xtrain_example.swish import Swish


class SwishModule(nn.Module):
    """x * sigmoid(beta * x)."""

    def __init__(self, beta):
        super().__init__()
        self.beta = beta

    def forward(self, x):
        """Of any shape."""
        return x * torch.sigmoid(self.beta * x)


@LAYERS.register(Swish, "x * torch.sigmoid({beta} * x)")
def swish(node, layer):
    """A module without parameters."""
    return SwishModule(layer.beta)


@LAYERS.register(PReLU, "nn.PReLU({start})")
def prelu(node, layer):
    """A module whose parameters have the names that `tensors` gives; xtrain writes their first values."""
    return nn.PReLU(num_parameters=node.input_shape[0])


@LOSSES.register(Focal, "((1 - p) ** {gamma} * F.cross_entropy(logits, labels)).sum() / samples")
def focal(loss):
    """The sum over samples, of outputs [B, K], labels [B]; weights are None."""

    def loss_sum(logits, labels, weights):
        log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
        return -((1 - log_p.exp()) ** loss.gamma * log_p).sum()

    return loss_sum
