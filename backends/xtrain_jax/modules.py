"""What a lowered layer is, what several layers of the table are made of, and the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from xtrain.spec import ModelSpec, Node, pools_first
from xtrain.spec.dropout import MULTIPLIERS, SHIFTS, threshold
from xtrain_jax.layers import lower

Tensors = dict[str, Array]
Noise = Array | None
"""`ModelSpec.noise` as uint32 [1 + dropouts]. None in evaluation."""

_WIDEST = 640  # numbers in a window, up to which a CPU is quicker with windows than with XLA's convolution


@dataclass(frozen=True)
class Pass:
    """One pass through a network, while it is traced.

    Args:
        tensors: of the model, by name.
        noise: what dropout masks come from; None in evaluation.
        narrow: what is multiplied by what in products, where it is not float32.
        unfold: whether convolutions are products over windows.
        moved: takes the statistics that layers move.

    """

    tensors: Tensors
    noise: Noise
    narrow: type | None = None
    unfold: bool = True
    moved: Tensors = field(default_factory=dict)

    def of(self, node: Node, name: str) -> Array:
        """A layer's own tensor."""
        return self.tensors[f"{node.path}.{name}"]

    def product(self, x: Array, weight: Array) -> Array:
        """x @ weight, added up in float32."""
        return jnp.matmul(self.narrowed(x), self.narrowed(weight), preferred_element_type=jnp.float32)

    def narrowed(self, x: Array) -> Array:
        """A factor of a product, in the precision that products have."""
        return x if self.narrow is None else x.astype(self.narrow)


Forward = Callable[[Pass, Array], Array]
"""A lowered layer: from a pass and an input to an output."""


class Network:
    """A pure function of tensors and images, and the tensors that it has now."""

    def __init__(self, model: ModelSpec, narrow: type | None, unfold: bool) -> None:
        self.tensors: Tensors = {}
        self._chain, self._how = chain(model.nodes), (narrow, unfold)
        self._predict = jax.jit(lambda tensors, images: self.apply(tensors, images)[0])

    def apply(self, tensors: Tensors, images: Array, noise: Noise = None) -> tuple[Array, Tensors]:
        """Logits [B, K] of images [B, C, H, W], and the statistics that moved: none without noise."""
        now = Pass(tensors, noise, *self._how)
        return self._chain(now, channels_last(images)), now.moved

    def run(self, node: Node, tensors: Tensors, x: Array, noise: Noise) -> tuple[Array, Tensors]:
        """The same of one layer alone."""
        now = Pass(tensors, noise, *self._how)
        return canonical(lower(node)(now, channels_last(x))), now.moved

    def __call__(self, images: Array) -> Array:
        """Logits [B, K] in evaluation mode."""
        return self._predict(self.tensors, images)


def chain(nodes: Sequence[Node]) -> Forward:
    """Layers one after the other, in the quicker order; none at all is the identity."""
    layers = [lower(node) for node in pools_first(nodes)]

    def forward(now: Pass, x: Array) -> Array:
        for layer in layers:
            x = layer(now, x)
        return x

    return forward


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


def convolve(x: Array, weight: Array, window: tuple[int, int, int], now: Pass) -> Array:
    """Images [B, H, W, C] by weight [out, in, k, k], added up in float32."""
    kernel = weight.transpose(2, 3, 1, 0)
    size, stride, padding = window
    if now.unfold and kernel[..., 0].size <= _WIDEST:
        side_by_side = jnp.concatenate(list(windows(x, *window)), axis=-1)
        return now.product(side_by_side, kernel.reshape(-1, len(weight)))
    return lax.conv_general_dilated(
        now.narrowed(x),
        now.narrowed(kernel),
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=jnp.float32,
    )


def lstm_layer(
    now: Pass, x: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array
) -> Array:
    """One layer of an LSTM, [B, T, F] to [B, T, N]."""
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
    """`xtrain.spec.keep_mask` on uint32, whose products wrap around."""
    features = int(np.prod(shape[1:]))
    elements = jnp.arange(shape[0] * features, dtype=jnp.uint32) + first_row * np.uint32(features)
    return (mix(mix(elements) ^ key) >> 8 >= threshold(p)).reshape(shape)


def mix(x: Array) -> Array:
    """`xtrain.spec.dropout.mix`."""
    x = x ^ (x >> SHIFTS[0])
    x = x * np.uint32(MULTIPLIERS[0])
    x = x ^ (x >> SHIFTS[1])
    x = x * np.uint32(MULTIPLIERS[1])
    return x ^ (x >> SHIFTS[2])
