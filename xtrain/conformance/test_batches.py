"""Batches equal to the bit, and dropout masks, against the definition written out element by element."""

import numpy as np
import pytest
from numpy.typing import NDArray

from xtrain import plan
from xtrain.conformance.cases import CLASSES, split
from xtrain.conformance.parts import build
from xtrain.protocols import Backend
from xtrain.spec import (
    Dropout,
    Flatten,
    Linear,
    ModelSpec,
    RandomCrop,
    RandomHorizontalFlip,
    Split,
    StepInput,
    keep_mask,
)

MODEL = ModelSpec("images", (3, 6, 6), (Flatten(), Linear(out_features=CLASSES)))
AUGMENT = (RandomCrop(size=6, padding=2), RandomHorizontalFlip(p=0.5))


@pytest.mark.parametrize("augment", [(), AUGMENT[:1], AUGMENT[1:], AUGMENT], ids=len)
@pytest.mark.parametrize("batch_size", [1, 8, 50])
def test_batches(
    augment: tuple[RandomCrop | RandomHorizontalFlip, ...], batch_size: int, backend: Backend
) -> None:
    plain = split(MODEL)
    data = Split(plain.images, plain.labels, plain.table, augment)
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


def _expected(data: Split, sample: int, words: list[NDArray[np.uint64]]) -> NDArray[np.float32]:
    pixels = data.images[sample]
    for step, drawn in zip(data.augment, words, strict=True):
        if isinstance(step, RandomCrop):
            pad, size = step.padding, step.size
            padded = np.zeros((3, 6 + 2 * pad, 6 + 2 * pad), dtype=np.uint8)
            padded[:, pad : pad + 6, pad : pad + 6] = pixels
            top, left = (int(word) % (6 + 2 * pad - size + 1) for word in drawn)
            pixels = padded[:, top : top + size, left : left + size]
        elif int(drawn[0]) < step.p * 2**64:
            pixels = pixels[:, :, ::-1]
    normalised = [data.table[channel][plane] for channel, plane in enumerate(pixels)]
    return np.stack(normalised)


def test_leaving_early_and_beginning_again(backend: Backend) -> None:
    dataset = backend.dataset(split(MODEL))
    draws = plan.eval_draws(23, 2)
    for _ in range(3):
        iterator = iter(dataset.batches(draws))
        images, _ = dataset.read(next(iterator))
        del iterator
        np.testing.assert_array_equal(images, dataset.read(next(iter(dataset.batches(draws))))[0])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("key", [0, 1, 0x7FFFFFFF, 0x80000000, 0xDEADBEEF, 0xFFFFFFFF])
def test_dropout_masks(p: float, key: int, backend: Backend) -> None:
    shape = (5, 3, 6, 6)
    model = ModelSpec("masks", shape[1:], (Dropout(p=p), Flatten(), Linear(out_features=CLASSES)))
    parts = build(backend, model)
    ones = np.ones(shape, dtype=np.float32)
    output = parts.model.trace(ones, StepInput(1, 0.1, (key,)))["dropout1"]
    np.testing.assert_array_equal(output != 0, keep_mask(key, p, shape))
    np.testing.assert_allclose(output[output != 0], 1 / (1 - p), rtol=2e-7)
    np.testing.assert_array_equal(parts.model.trace(ones, None)["dropout1"], ones)
