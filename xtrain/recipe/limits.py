"""How large a training may be: what no machine could hold is refused before anything is made of it.

The limits are the same everywhere, so that a recipe is valid on every machine or on none.
"""

import math
from collections.abc import Iterator

from xtrain.data import DatasetInfo
from xtrain.errors import RecipeError
from xtrain.recipe.data import Data
from xtrain.spec import Augment, ModelSpec, RandomCrop, Shape
from xtrain.spec.base import LARGEST_SIDE

WEIGHTS = 2**34
"""Bytes of a model's tensors in float32, 16 GiB: with gradients and Adam's two moments four times as much."""
ACTIVATIONS = 2**36
"""Bytes of any one array that a step makes in float32, 64 GiB: all of a large accelerator."""

_FLOAT = 4
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check_images(section: Data, about: DatasetInfo, where: object) -> None:
    """`RecipeError` where the images of a batch grow too large on their way to the model."""
    train = min(section.batch_size, section.train_samples(about))
    test = min(section.eval_batch_size, max(about.test, section.validation_samples(about)))
    for key, steps, batch in (
        ("augment", section.augment, train),
        ("eval_transform", section.eval_transform, test),
    ):
        for place, shape, working in images(steps, about.input_shape):
            if max(shape[1:]) > LARGEST_SIDE:
                raise RecipeError(
                    f"data.{key}[{place}] makes images of {shape[1]}x{shape[2]}; "
                    f"the limit is {LARGEST_SIDE} pixels a side",
                    where=where,
                )
            _refuse(f"data.{key}[{place}]: a batch of {batch} images", batch * working, ACTIVATIONS, where)


def check_model(section: Data, accumulate: int, model: ModelSpec, about: DatasetInfo, where: object) -> None:
    """`RecipeError` where weights, the batches of a step, or what a layer makes of them are too large."""
    key = f"model.name = {model.name!r}"
    _refuse(f"{key}: its weights", weights(model), WEIGHTS, where)
    samples, size = section.train_samples(about), section.batch_size
    step = min(size * accumulate, samples)
    inputs = step * math.prod(model.input_shape)
    _refuse(f"loop.accumulate = {accumulate}: the images of a step", inputs, ACTIVATIONS, where)
    evaluated = min(section.eval_batch_size, max(about.test, section.validation_samples(about)))
    batch = max(min(size, samples), evaluated)
    for node in model.walk():
        unfolded = node.layer.unfolded(node.input_shape)
        _refuse(f"{key}: the windows of layer {node.path} for one image", unfolded, ACTIVATIONS, where)
        largest = max(math.prod(node.output_shape), node.layer.working(node.input_shape))
        _refuse(f"{key}: layer {node.path} for a batch of {batch}", batch * largest, ACTIVATIONS, where)


def weights(model: ModelSpec) -> int:
    """How many numbers a model's tensors hold."""
    return sum(tensor.size for tensor in model.tensors.values())


def images(steps: tuple[Augment, ...], shape: Shape) -> Iterator[tuple[int, Shape, int]]:
    """For each augmentation its place, the image that it makes, and the numbers of the largest on the way."""
    for place, step in enumerate(steps):
        padding = step.padding if isinstance(step, RandomCrop) else 0
        padded = shape[0] * (shape[1] + 2 * padding) * (shape[2] + 2 * padding)
        shape = step.output_shape(shape)
        yield place, shape, max(padded, math.prod(shape))


def _refuse(what: str, numbers: int, limit: int, where: object) -> None:
    if _FLOAT * numbers > limit:
        raise RecipeError(
            f"{what} would take {_memory(_FLOAT * numbers)}; the limit is {_memory(limit)}", where=where
        )


def _memory(size: int) -> str:
    power = min(max((size.bit_length() - 1) // 10, 1), len(_UNITS))
    return f"{size / 1024**power:,.4g} {_UNITS[power - 1]}"
