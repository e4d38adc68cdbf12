"""Batches equal to the bit, and dropout masks, against the definition written out element by element."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.cases import CLASSES, split
from xtrain.conformance.parts import build, thorough
from xtrain.data.augment import apply
from xtrain.protocols import Backend
from xtrain.spec import (
    Augment,
    CenterCrop,
    ColorJitter,
    Cutout,
    Draws,
    Dropout,
    Flatten,
    Linear,
    ModelSpec,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomRotation,
    Resize,
    Split,
    StepInput,
    keep_mask,
)

MODEL = ModelSpec("images", (3, 6, 6), (Flatten(), Linear(out_features=CLASSES)))
AUGMENT = (RandomCrop(size=6, padding=2), RandomHorizontalFlip(p=0.5))
EVERY = (
    Resize(size=(9, 7)),
    Resize(size=5, interpolation="nearest"),
    CenterCrop(size=8),
    RandomCrop(size=6, padding=1),
    RandomHorizontalFlip(p=0.5),
    RandomRotation(degrees=30, fill=(9, 99, 199)),
    RandomRotation(degrees=(40, 50), interpolation="bilinear"),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    RandomErasing(p=0.5, value=7),
    Cutout(size=3),
)
EVALUATION = (Resize(size=7), CenterCrop(size=4))


@pytest.mark.parametrize(
    "augment",
    [(), *((step,) for step in EVERY), AUGMENT, EVERY],
    ids=lambda steps: "+".join(step.op for step in steps) if len(steps) < 9 else "every",
)
@pytest.mark.parametrize("batch_size", [8, *thorough(1, 50)])
def test_batches(augment: tuple[Augment, ...], batch_size: int, backend: Backend) -> None:
    plain = split(MODEL)
    data = Split(plain.images, plain.labels, plain.mean, plain.std, augment)
    dataset = backend.dataset(data)
    assert len(dataset) == 23
    draws = plan.train_draws(3, 2, 23, batch_size, augment=augment)
    batches = list(dataset.batches(draws))  # all at once: none may overwrite another
    assert len(batches) == len(draws.batches)
    for native, indices in zip(batches, draws.batches, strict=True):
        images, labels = dataset.read(native)
        assert images.dtype == np.float32
        np.testing.assert_array_equal(labels, data.labels[indices])
        for row, sample in enumerate(indices):
            expected = _expected(data, int(sample), [words[sample] for words in draws.augment])
            np.testing.assert_array_equal(images[row], expected, err_msg=f"sample {sample}")


def test_what_is_not_drawn_is_done_in_an_evaluation_too(backend: Backend) -> None:
    plain = split(MODEL)
    data = Split(plain.images, plain.labels, plain.mean, plain.std, EVALUATION)
    dataset = backend.dataset(data)
    for native, indices in zip(
        dataset.batches(plan.eval_draws(23, 8)), plan.eval_draws(23, 8).batches, strict=True
    ):
        images, labels = dataset.read(native)
        np.testing.assert_array_equal(labels, data.labels[indices])
        expected = np.stack([_expected(data, int(sample), []) for sample in indices])
        np.testing.assert_array_equal(images, expected)


def _expected(data: Split, sample: int, words: list[NDArray[np.uint64]]) -> NDArray[np.float32]:
    """Crops and flips are written out; of the others each sample is one batch of the NumPy definition."""
    pixels, waiting = data.images[sample], list(words)
    for step in data.augment:
        drawn = waiting.pop(0) if step.words else np.empty(0, dtype=np.uint64)
        if isinstance(step, RandomCrop):
            pad, size, (height, width) = step.padding, step.size, pixels.shape[1:]
            padded = np.zeros((3, height + 2 * pad, width + 2 * pad), dtype=np.uint8)
            padded[:, pad : pad + height, pad : pad + width] = pixels
            top = int(drawn[0]) % (height + 2 * pad - size + 1)
            left = int(drawn[1]) % (width + 2 * pad - size + 1)
            pixels = padded[:, top : top + size, left : left + size]
        elif isinstance(step, RandomHorizontalFlip):
            pixels = pixels[:, :, ::-1] if int(drawn[0]) < step.p * 2**64 else pixels
        else:
            pixels = apply(step, np.ascontiguousarray(pixels)[None], drawn[None])[0]
    assert not waiting
    scaled = pixels.astype(np.float32) / np.float32(255)
    normalised: NDArray[np.float32] = (scaled - data.mean) / data.std
    return normalised


@pytest.mark.parametrize("augment", [(), EVALUATION], ids=["plain", "augmented"])
def test_a_pass_that_is_over_has_no_batches(augment: tuple[Augment, ...], backend: Backend) -> None:
    """As where a run goes on that was stopped after an epoch's last step."""
    dataset = backend.dataset(replace(split(MODEL), augment=augment))
    assert list(dataset.batches(Draws(()))) == []


def test_leaving_early_and_beginning_again(backend: Backend) -> None:
    dataset = backend.dataset(split(MODEL))
    draws = plan.eval_draws(23, 2)
    for _ in range(3):
        iterator = iter(dataset.batches(draws))
        images, _ = dataset.read(next(iterator))
        del iterator
        np.testing.assert_array_equal(images, dataset.read(next(iter(dataset.batches(draws))))[0])


@pytest.mark.parametrize("p", [0.25, *thorough(0.0, 0.1, 0.5, 0.9)])
@pytest.mark.parametrize("key", [0x80000000, 0xDEADBEEF, *thorough(0, 1, 0x7FFFFFFF, 0xFFFFFFFF)])
def test_dropout_masks(p: float, key: int, backend: Backend) -> None:
    shape = (5, 3, 6, 6)
    model = ModelSpec("masks", shape[1:], (Dropout(p=p), Flatten(), Linear(out_features=CLASSES)))
    parts = build(backend, model)
    ones = np.ones(shape, dtype=np.float32)
    output = parts.model.trace(ones, StepInput(1, 0.1, dropout_keys=(key,)))["dropout1"]
    np.testing.assert_array_equal(output != 0, keep_mask(key, p, shape))
    np.testing.assert_allclose(output[output != 0], 1 / (1 - p), rtol=2e-7)
    np.testing.assert_array_equal(parts.model.trace(ones, None)["dropout1"], ones)
