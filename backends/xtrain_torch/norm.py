"""Batch norm over the batches of several processes, on any device.

nn.SyncBatchNorm is a GPU's alone. The formulas are those of Ioffe and Szegedy (2015), and the means and
variances of parts are merged as by Chan, Golub and LeVeque (1983).
"""

from typing import Any

import torch
from torch import Tensor, nn

from xtrain_torch.engine import TorchGroup

_SAMPLES = (0, 2, 3)  # of [B, C, H, W]: all but the channels


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose batch is that of all processes; a process may have no row of it."""

    group: TorchGroup
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the shape of x; in training the running statistics move."""
        if not self.training:
            return super().forward(x)
        count, mean, variance = _merged(x.detach(), self.group)
        if count == 1:
            raise ValueError(f"batch norm needs more than 1 value per channel in training, got {[*x.shape]}")
        scale = (variance + self.eps).rsqrt()
        y: Tensor = _Normalised.apply(x, self.weight, self.bias, mean, scale, count, self.group)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *merged: Any) -> Tensor:
        mean, scale, ctx.count, ctx.group = merged
        ctx.save_for_backward(x, weight, mean, scale)
        factor = weight * scale
        return torch.addcmul((bias - mean * factor)[:, None, None], x, factor[:, None, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, weight, mean, scale = ctx.saved_tensors
        centred = (x - mean[:, None, None]) * scale[:, None, None]
        dbias, dweight = dy.sum(_SAMPLES), (dy * centred).sum(_SAMPLES)
        sums = torch.stack([dbias, dweight])
        ctx.group.add([sums])
        of_mean, of_scale = (sums / ctx.count)[:, :, None, None]
        dx = (dy - of_mean - centred * of_scale) * (scale * weight)[:, None, None]
        return dx, dweight, dbias, None, None, None, None


def synchronise(network: nn.Module, group: TorchGroup) -> None:
    """Let every batch norm of a network work over a group; its tensors stay the ones they are."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Another module would leave the tensors that the optimizer holds; mypy knows no change of class.
            module.__class__, module.group = GlobalBatchNorm2d, group  # type: ignore[assignment]


def _merged(x: Tensor, group: TorchGroup) -> tuple[int, Tensor, Tensor]:
    """Values a channel, mean and biased variance by channel [C] of all processes' x."""
    count = x.numel() // x.shape[1]
    variance, mean = torch.var_mean(x, _SAMPLES, correction=0) if count else (x.new_zeros(2, x.shape[1]))
    every = group.every(torch.cat([x.new_full((1,), count), mean, variance])).double()
    counts, (means, variances) = every[:, :1], every[:, 1:].chunk(2, dim=1)
    total = counts.sum()
    merged = (counts * means).sum(0) / total
    squares = (counts * (variances + (means - merged) ** 2)).sum(0)
    return int(total), merged.to(x.dtype), (squares / total).to(x.dtype)
