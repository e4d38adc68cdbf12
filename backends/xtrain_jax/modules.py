"""What a lowered layer is, what several layers of the table are made of, and the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import product
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from xtrain.spec import ModelSpec, Node, pools_first
from xtrain.spec.dropout import mix, threshold
from xtrain_jax.layers import lower

Tensors = dict[str, Array]
Window = tuple[int, int, int]
"""Kernel size, stride and padding."""
Noise = Array | None
"""`ModelSpec.noise` as uint32 [1 + dropouts]. None in evaluation."""

_LARGEST_WINDOW = 320  # numbers, up to which a CPU is quicker without XLA's convolutions


@dataclass(frozen=True)
class Pass:
    """One pass through a network, while it is traced.

    Args:
        tensors: of the model, by name.
        noise: what dropout masks come from; None in evaluation.
        narrow: the type of what is multiplied in products.
        unfold: whether convolutions are products over windows, where these are small.
        moved: takes the statistics that layers move.

    """

    tensors: Tensors
    noise: Noise
    narrow: Any
    unfold: bool
    moved: Tensors = field(default_factory=dict)

    def of(self, node: Node, name: str) -> Array:
        """A layer's own tensor."""
        return self.tensors[f"{node.path}.{name}"]

    def product(self, x: Array, weight: Array) -> Array:
        """x @ weight, added up in float32."""
        return _product(x.astype(self.narrow), weight.astype(self.narrow))


Forward = Callable[[Pass, Array], Array]
"""A lowered layer: from a pass and an input to an output."""


class Network:
    """A pure function of tensors and images, and the tensors that it has now."""

    def __init__(self, model: ModelSpec, narrow: Any, unfold: bool) -> None:
        for node in model.walk():
            lower(node)  # refuses what has no lowering, before anything is traced
        self.tensors: Tensors = {}
        self._nodes, self._how = model.nodes, (narrow, unfold)
        self._predict = jax.jit(self.apply)

    def __call__(self, images: Array) -> Array:
        """Logits [B, K] in evaluation mode."""
        logits: Array = self._predict(self.tensors, images)[0]
        return logits

    def apply(self, tensors: Tensors, images: Array, noise: Noise = None) -> tuple[Array, Tensors]:
        """Logits [B, K] of images [B, C, H, W], and the statistics that moved: none without noise."""
        return self.run(self._nodes, tensors, images, noise)

    def run(self, nodes: Sequence[Node], tensors: Tensors, x: Array, noise: Noise) -> tuple[Array, Tensors]:
        """The same of some of its layers."""
        now = Pass(tensors, noise, *self._how)
        return canonical(run(nodes, now, channels_last(x))), now.moved


def run(nodes: Sequence[Node], now: Pass, x: Array) -> Array:
    """Pass x through layers, in the quicker order; none at all is the identity."""
    return reduce(lambda x, node: lower(node)(now, x), pools_first(nodes), x)


def device_of(name: str) -> jax.Device:
    """JAX's device by our name for it."""
    kind, _, index = name.partition(":")
    return jax.devices(kind)[int(index or 0)]


def channels_last(x: Array) -> Array:
    """Images [B, C, H, W] to [B, H, W, C]; anything else as it is."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def canonical(x: Array) -> Array:
    """Images [B, H, W, C] to [B, C, H, W]; anything else as it is."""
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def windows(x: Array, size: int, stride: int, padding: int, value: float = 0.0) -> Iterator[Array]:
    """For each place in a window, row by row, what all windows have there [B, H', W', C]."""
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, sides, constant_values=value) if padding else x
    tops, lefts = (range(0, pixels - size + 1, stride) for pixels in x.shape[1:3])
    for row, column in product(range(size), range(size)):
        yield x[:, row : row + tops[-1] + 1 : stride, column : column + lefts[-1] + 1 : stride]


def largest(parts: Iterator[Array]) -> Array:
    """The largest of equally shaped arrays; the gradient goes to the first of equals.

    XLA's own pool scatters its gradient, which takes a CPU twenty times as long.
    """
    best = next(parts)
    for part in parts:
        best = jnp.where((part > best) | jnp.isnan(part), part, best)
    return best


def cells(pixels: int, count: int) -> Array:
    """What each pixel counts in the mean of each cell [count, pixels]."""
    shares = np.zeros((count, pixels), dtype=np.float32)
    for cell in range(count):
        inside = slice(cell * pixels // count, -(-(cell + 1) * pixels // count))
        shares[cell, inside] = 1 / (inside.stop - inside.start)
    return jnp.array(shares)


def convolve(now: Pass, x: Array, weight: Array, window: Window) -> Array:
    """Images [B, H, W, C] by weight [out, in, k, k], added up in float32."""
    x, kernel = x.astype(now.narrow), weight.transpose(2, 3, 1, 0).astype(now.narrow)
    small = window[0] == 1 or kernel[..., 0].size <= _LARGEST_WINDOW
    return (_unfolded if now.unfold and small else _convolved)(x, kernel, window)


def _convolved(x: Array, kernel: Array, window: Window) -> Array:
    strides, sides, order = (window[1],) * 2, [(window[2],) * 2] * 2, ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, sides, dimension_numbers=order, **_SUM)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _unfolded(x: Array, kernel: Array, window: Window) -> Array:
    """The same as a product over windows side by side, and so is the gradient by the kernel.

    XLA's own convolutions take a CPU up to four times as long where windows are small. The gradient by x is
    theirs: a sum over windows would be computed anew in all that it is fused with.
    """
    return _product(_side_by_side(x, window), kernel.reshape(-1, kernel.shape[3]))


def _unfolded_back(window: Window, given: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = given
    (dx,) = jax.linear_transpose(lambda x: _convolved(x, kernel, window), x)(dy)
    inputs, outputs = _side_by_side(x, window), dy.astype(x.dtype)
    dkernel = _product(outputs.reshape(-1, dy.shape[3]).T, inputs.reshape(-1, inputs.shape[3])).T
    return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)


_unfolded.defvjp(lambda x, kernel, window: (_unfolded(x, kernel, window), (x, kernel)), _unfolded_back)


def _side_by_side(x: Array, window: Window) -> Array:
    return jnp.concatenate(list(windows(x, *window)), axis=-1)


def _product(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, **_SUM)


_SUM: Any = {"preferred_element_type": jnp.float32}


def lstm_layer(now: Pass, x: Array, *tensors: Array) -> Array:
    """One layer of an LSTM, [B, T, F] to [B, T, N], by its weight_ih, weight_hh, bias_ih and bias_hh."""
    weight_ih, weight_hh, bias_ih, bias_hh = tensors
    fed = (now.product(x, weight_ih.T) + bias_ih).swapaxes(0, 1)  # of all steps at once

    def step(state: tuple[Array, Array], fed: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = state
        i, f, g, o = jnp.split(fed + now.product(h, weight_hh.T) + bias_hh, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((len(x), weight_hh.shape[1]))
    return lax.scan(step, (start, start), fed)[1].swapaxes(0, 1)


def keep_mask(key: Array, p: float, shape: tuple[int, ...], first_row: Array) -> Array:
    """`xtrain.spec.keep_mask`; its `mix` takes JAX's uint32 too, whose products wrap around as NumPy's do."""
    scramble = cast(Callable[[Any], Array], mix)
    elements = jnp.arange(math.prod(shape), dtype=jnp.uint32) + first_row * np.uint32(math.prod(shape[1:]))
    return (scramble(scramble(elements) ^ key) >> 8 >= threshold(p)).reshape(shape)
