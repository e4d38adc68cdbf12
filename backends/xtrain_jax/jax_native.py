# mypy: ignore-errors
"""Three trainings written by hand for JAX, with arrays in memory; nothing of xtrain.

What it shares with the loops of other frameworks stands in `benchmarks/native`, which must be on the path:

    export PYTHONPATH=benchmarks/native
    python backends/xtrain_jax/jax_native.py mnist_mlp --style resident --data DIR
"""

from collections.abc import Iterator
from functools import partial

import arrays
import harness
import jax
import jax.numpy as jnp
import numpy as np
from harness import BATCH_SIZE, Clock
from jax import lax

CONVOLUTIONS = {"mnist_mlp": (), "cifar10_lenet": ((6, 5), (16, 5)), "cifar10_simplecnn": ((32, 3), (64, 3))}
HIDDEN = {"mnist_mlp": (512, 512), "cifar10_lenet": (120, 84), "cifar10_simplecnn": (128,)}


def initial(task: str, shape: tuple[int, ...], generator: np.random.Generator) -> dict[str, jax.Array]:
    """Weights as PyTorch draws them, by its names: uniform within 1/sqrt(fan_in)."""
    weights = {}
    channels, side, features = shape[0], shape[1], shape[0] * shape[1] * shape[2]

    def draw(name: str, *sizes: int) -> None:
        bound = np.prod(sizes[1:]) ** -0.5
        for kind, of in (("weight", sizes), ("bias", sizes[:1])):
            weights[f"{name}.{kind}"] = jnp.asarray(generator.uniform(-bound, bound, of), jnp.float32)

    for number, (out, kernel) in enumerate(CONVOLUTIONS[task], start=1):
        draw(f"conv{number}", out, channels, kernel, kernel)
        channels, side = out, (side - kernel + 1) // 2
        features = channels * side * side
    for number, out in enumerate((*HIDDEN[task], 10), start=1):
        draw(f"fc{number}", out, features)
        features = out
    return weights


def forward(task: str, weights: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Logits [B, 10] of images [B, H, W, C]."""
    for number, _ in enumerate(CONVOLUTIONS[task], start=1):
        kernel, bias = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
        x = lax.conv_general_dilated(
            x, kernel.transpose(2, 3, 1, 0), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + bias)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    x = x.reshape(len(x), -1)
    last = len(HIDDEN[task]) + 1
    for number in range(1, last + 1):
        x = x @ weights[f"fc{number}.weight"].T + weights[f"fc{number}.bias"]
        x = jax.nn.relu(x) if number < last else x
    return x


def loss_of(task: str, weights: dict[str, jax.Array], images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross entropy."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(forward(task, weights, images)), labels[:, None], axis=1)
    return -chosen.mean()


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def step(
    task: str, weights: dict, state: dict, images: jax.Array, labels: jax.Array
) -> tuple[dict, dict, jax.Array]:
    """Forward, backward and update: SGD for the MLP, else Adam."""
    loss, gradients = jax.value_and_grad(partial(loss_of, task))(weights, images, labels)
    if task == "mnist_mlp":
        return jax.tree.map(lambda w, g: w - 1e-2 * g, weights, gradients), state, loss
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], gradients)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["square"], gradients)

    def updated(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return w - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

    weights = jax.tree.map(updated, weights, mean, square)
    return weights, {"count": count, "mean": mean, "square": square}, loss


def main() -> None:
    """Train, and report as the other loops do."""
    options = harness.arguments("JAX", styles=("resident",))
    data, generator = arrays.read(options.data, harness.DATASETS[options.task]), np.random.default_rng(0)
    images = np.ascontiguousarray(data.normalised(data.train_images).transpose(0, 2, 3, 1))
    labels = data.train_labels.astype(np.int32)
    channels_first = (images.shape[3], *images.shape[1:3])
    weights = initial(options.task, channels_first, generator)
    if options.weights:
        weights = {name: jnp.array(value) for name, value in harness.read_weights(options.weights).items()}
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state = {"count": jnp.zeros(()), "mean": zeros(weights), "square": zeros(weights)}
    orders, clock = harness.read_orders(options.order), Clock(options)

    def batches(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = generator.permutation(len(labels)) if orders is None else orders[epoch]
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            yield images[rows], labels[rows]

    for epoch in range(options.epochs):
        for batch in clock.epoch(batches(epoch)):
            weights, state, loss = step(options.task, weights, state, *batch)
            clock.step(loss)
    accuracy = None
    if not options.steps:
        predict = jax.jit(partial(forward, options.task))
        tests = np.split(data.normalised(data.test_images).transpose(0, 2, 3, 1), 100)
        found = np.concatenate([predict(weights, part).argmax(1) for part in tests])
        accuracy = float((found == data.test_labels).mean())
    harness.report("jax", options, clock, len(labels), accuracy)


if __name__ == "__main__":
    main()
