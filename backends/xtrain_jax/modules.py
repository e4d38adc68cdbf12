"""What layers of the table are made of, and how they run one after the other."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from xtrain.spec import Node, pools_first
from xtrain.spec.dropout import mix, threshold
from xtrain_jax.layers import LAYERS

Tensors = dict[str, Array]
Window = tuple[int, int, int]
"""Kernel size, stride and padding."""
Noise = Array | None
"""`ModelSpec.noise` as uint32 [1 + dropouts]. None in evaluation."""

_SUM: Any = {"preferred_element_type": jnp.float32}
_LARGEST_WINDOW = 320  # numbers, up to which a CPU is quicker without XLA's convolutions


@dataclass(frozen=True)
class Pass:
    """One pass through a network, while it is traced.

    Args:
        tensors: of the model, by name.
        noise: what dropout masks come from; None in evaluation.
        narrow: the type of what is multiplied in products.
        unfold: whether convolutions are products over windows, where these are small. Up to JAX 0.9 a CPU's
            own convolutions are as quick.
        moved: takes the statistics that layers move.

    """

    tensors: Tensors
    noise: Noise
    narrow: Any
    unfold: bool
    moved: Tensors = field(default_factory=dict)

    def product(self, x: Array, weight: Array) -> Array:
        """x @ weight, added up in float32."""
        return jnp.matmul(x.astype(self.narrow), weight.astype(self.narrow), **_SUM)


def run(nodes: Sequence[Node], now: Pass, x: Array) -> Array:
    """Pass x through layers, in the quicker order; none at all is the identity."""
    for node in pools_first(nodes):
        own = (now.tensors[name] for name in node.tensors)
        x = LAYERS.of(node.layer)(node, node.layer, now, x, *own)
    return x


def channels_last(x: Array) -> Array:
    """Images [B, C, H, W] to [B, H, W, C]; anything else as it is."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def canonical(x: Array) -> Array:
    """Images [B, H, W, C] to [B, C, H, W]; anything else as it is."""
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def flat(x: Array) -> Array:
    """To [B, C*H*W], channels slowest."""
    return canonical(x).reshape(len(x), -1)


def windows(x: Array, size: int, stride: int, padding: int, outside: float = 0.0) -> list[Array]:
    """For each place in a window, row by row, what all windows have there [B, H', W', C]."""
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, sides, constant_values=outside)
    down, across = (pixels - size + 1 for pixels in x.shape[1:3])
    places = itertools.product(range(size), repeat=2)
    return [x[:, row : row + down : stride, column : column + across : stride] for row, column in places]


def largest(parts: list[Array]) -> Array:
    """The largest of equally shaped arrays; the gradient goes to the first of equals.

    XLA's own pool scatters its gradient, which takes a CPU twenty times as long.
    """
    return reduce(lambda best, part: jnp.where((part > best) | jnp.isnan(part), part, best), parts)


def means(x: Array, axis: int, count: int) -> Array:
    """Means of m cells along an axis; over n pixels cell i runs from floor(i*n/m) up to ceil((i+1)*n/m)."""
    pixels = x.shape[axis]
    cells = [(cell * pixels // count, -(-(cell + 1) * pixels // count)) for cell in range(count)]
    return jnp.stack([lax.slice_in_dim(x, *cell, axis=axis).mean(axis) for cell in cells], axis)


def convolve(now: Pass, x: Array, weight: Array, window: Window) -> Array:
    """Images [B, H, W, C] by weight [out, in, k, k]."""
    x, kernel = x.astype(now.narrow), weight.transpose(2, 3, 1, 0).astype(now.narrow)
    small = window[0] == 1 or kernel[..., 0].size <= _LARGEST_WINDOW
    return (_unfolded if now.unfold and small else _convolved)(x, kernel, window)


def _convolved(x: Array, kernel: Array, window: Window) -> Array:
    strides, sides, order = (window[1],) * 2, [(window[2],) * 2] * 2, ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, sides, dimension_numbers=order).astype(jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _unfolded(x: Array, kernel: Array, window: Window) -> Array:
    """The same as a product over windows side by side, and so is the gradient by the kernel.

    XLA's own convolutions take a CPU up to four times as long where windows are small. The gradient by x is
    theirs: a sum over windows would be computed anew in all that it is fused with.
    """
    inputs = jnp.concatenate(windows(x, *window), axis=-1)
    return jnp.matmul(inputs, kernel.reshape(-1, kernel.shape[3]), **_SUM)


def _unfolded_back(window: Window, given: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = given
    (dx,) = jax.linear_transpose(lambda x: _convolved(x, kernel, window), x)(dy)
    inputs = jnp.concatenate(windows(x, *window), axis=-1)
    outputs = dy.astype(x.dtype).reshape(-1, dy.shape[3])
    dkernel = jnp.matmul(outputs.T, inputs.reshape(-1, inputs.shape[3]), **_SUM).T
    return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)


_unfolded.defvjp(lambda x, kernel, window: (_unfolded(x, kernel, window), (x, kernel)), _unfolded_back)


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


def keep_mask(key: Any, p: float, shape: tuple[int, ...], first_row: Any) -> Array:
    """`xtrain.spec.keep_mask`; its `mix` takes JAX's uint32 too, whose products wrap around as NumPy's do."""
    start, count = first_row * np.uint32(math.prod(shape[1:])), math.prod(shape)
    elements: Any = start + jnp.arange(count, dtype=jnp.uint32)
    kept: Any = mix(mix(elements) ^ key) >> 8 >= threshold(p)
    return jnp.reshape(kept, shape)
