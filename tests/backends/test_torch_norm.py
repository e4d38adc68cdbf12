"""Batch norm over several processes against nn.BatchNorm2d over the whole batch, in float64."""

import pytest
import torch
from torch import nn
from xtrain_torch.norm import GlobalBatchNorm2d, synchronise

from tests.unit.thread_group import together

TOLERANCE = 1e-12  # some hundred roundings of float64, whose last place is 2e-16


class TensorGroup:
    """`TorchGroup` over threads."""

    def __init__(self, group):
        self._group = group

    def every(self, tensor):
        return torch.stack(self._group.swap(tensor))

    def add(self, tensors):
        for tensor, each in zip(
            tensors, zip(*self._group.swap([t.clone() for t in tensors]), strict=True), strict=True
        ):
            tensor.copy_(sum(each))


def norm(group=None):
    network = nn.Sequential(nn.BatchNorm2d(3, dtype=torch.float64))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([0.5, -2.0, 1.25]))
        network[0].bias.copy_(torch.tensor([1.0, 0.0, -3.0]))
    if group:
        synchronise(network, TensorGroup(group))
    return network


def step(network, x, dy):
    x = x.clone().requires_grad_()
    y = network(x)
    y.backward(dy)
    module = network[0]
    return y.detach(), x.grad, module.weight.grad, module.bias.grad, module.running_mean, module.running_var


def compared(parts):
    """The largest difference of outputs, gradients and statistics between parts of a batch and the whole."""
    torch.manual_seed(0)
    x = torch.randn(sum(parts), 3, 4, 4, dtype=torch.float64) * 3 + 100
    dy = torch.randn_like(x)
    wanted = step(norm(), x, dy)
    pieces = list(zip(x.split(parts), dy.split(parts), strict=True))
    found = together(len(parts), lambda rank, group: step(norm(group), *pieces[rank]))
    y, dx = (torch.cat([each[index] for each in found]) for index in (0, 1))
    dweight, dbias = (sum(each[index] for each in found) for index in (2, 3))
    for each in found[1:]:  # all have the same statistics, to the bit
        assert all((a == b).all() for a, b in zip(each[4:], found[0][4:], strict=True))
    got = (y, dx, dweight, dbias, *found[0][4:])
    return max(float(((a - b).abs() / b.abs().max()).max()) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("parts", [[4, 4], [5, 3], [1, 6, 2], [7, 0], [0, 2, 0]])
def test_it_is_the_whole_batch_that_counts(parts):
    assert compared(parts) < TOLERANCE


def test_statistics_of_each_part_alone_are_noticed(monkeypatch):
    monkeypatch.setattr(GlobalBatchNorm2d, "forward", nn.BatchNorm2d.forward)
    with pytest.raises(AssertionError):
        assert compared([4, 4]) < TOLERANCE


def test_a_gradient_that_is_not_summed_is_noticed(monkeypatch):
    monkeypatch.setattr(TensorGroup, "add", lambda self, tensors: None)
    assert compared([4, 4]) > 1e-3


def test_one_value_has_no_variance():
    def work(rank, group):
        norm(group)(torch.ones(1 - rank, 3, 1, 1, dtype=torch.float64))

    with pytest.raises(ValueError, match="more than 1 value"):
        together(2, work)


def test_evaluation_asks_nobody():
    network = norm(object()).eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(network(x), norm().eval()(x))
