"""Batches in NumPy; tests/parity/test_batches_torchvision.py compares them with torchvision's."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtrain.data.augment import apply, crop_offsets, flipped
from xtrain.data.batches import (
    assemble,
    augmented,
    empty,
    per_channel,
    prefetch,
)
from xtrain.spec import CenterCrop, Draws, RandomCrop, RandomHorizontalFlip, Resize, Split

MEAN, STD = per_channel((0.4914, 0.4822, 0.4465)), per_channel((0.2470, 0.2435, 0.2616))


def split_of(count, *, size=6, channels=3, augment=(), seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return Split(images, random.integers(0, 10, count), MEAN[:channels], STD[:channels], augment)


def normal(split, pixels):
    return (pixels.astype(np.float32) / np.float32(255) - split.mean) / split.std


def words_for(count, width, seed):
    return np.random.default_rng(seed).integers(0, 2**64, (count, width), dtype=np.uint64)


# ---- normalisation


def every_value(mean, std):
    """Float32 [C, 256]: what each pixel value becomes in each channel."""
    pixels = np.tile(np.arange(256, dtype=np.uint8), (1, len(mean), 1)).reshape(1, len(mean), 16, 16)
    ((images, _),) = assemble(
        Split(pixels, np.zeros(1, np.int64), per_channel(mean), per_channel(std)), Draws((np.arange(1),))
    )
    return images.reshape(len(mean), 256)


def test_pixels_are_normalised_by_the_formula_rounded_to_float32():
    exact = (np.arange(256) / 255 - np.array([[0.1307], [0.5]])) / np.array([[0.3081], [0.25]])
    # three float32 roundings of values up to 3, one of them before a division by 0.25
    np.testing.assert_allclose(every_value((0.1307, 0.5), (0.3081, 0.25)), exact, rtol=0, atol=5e-7)


@given(
    mean=st.floats(0, 1),
    std=st.floats(0.01, 1),
)
def test_brighter_pixels_stay_brighter(mean, std):
    assert (np.diff(every_value((mean,), (std,))[0]) > 0).all()


def test_a_mean_may_be_an_image():
    split = split_of(3)
    wide = replace(split, mean=np.broadcast_to(MEAN, (3, 6, 6)).copy(), std=np.broadcast_to(STD, (3, 6, 6)))
    draws = Draws((np.arange(3),))
    (one, _), (other, _) = (next(assemble(some, draws)) for some in (split, wide))
    assert one.tobytes() == other.tobytes()
    wide.mean[1, 2, 3] += 1
    changed = next(assemble(wide, draws))[0] != one
    assert changed[:, 1, 2, 3].all()
    assert changed.sum() == 3


# ---- assembling


@given(
    count=st.integers(1, 20),
    batch_size=st.integers(1, 9),
    channels=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_batches_are_the_drawn_samples_normalised(count, batch_size, channels, seed):
    split = split_of(count, channels=channels, seed=seed)
    order = np.random.default_rng(seed).permutation(count)
    batches = tuple(order[start : start + batch_size] for start in range(0, count, batch_size))
    made = list(assemble(split, Draws(batches)))
    assert len(made) == len(batches)
    for (images, labels), indices in zip(made, batches, strict=True):
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(labels, split.labels[indices])
        for image, index in zip(images, indices, strict=True):
            for channel in range(channels):
                np.testing.assert_array_equal(image[channel], normal(split, split.images[index])[channel])


@given(
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=4), dtype=st.sampled_from([np.float32, np.int64])
)
def test_memory_is_aligned_and_contiguous(shape, dtype):
    array = empty(tuple(shape), dtype)
    assert (array.shape, array.dtype) == (tuple(shape), dtype)
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_every_batch_has_its_own_aligned_memory():
    split = split_of(8)
    (first, _), (second, _) = assemble(split, Draws((np.arange(4), np.arange(4))))
    assert first.ctypes.data % 64 == second.ctypes.data % 64 == 0
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, split.images)


CROP, FLIP = RandomCrop(size=5, padding=2), RandomHorizontalFlip()


@given(count=st.integers(1, 16), batch_size=st.integers(1, 16), seed=st.integers(0, 99))
def test_batch_size_and_order_change_nothing_about_an_image(count, batch_size, seed):
    split = split_of(count, augment=(CROP, FLIP), seed=seed)
    drawn = (words_for(count, 2, seed), words_for(count, 1, seed + 1))
    ((alone, _),) = assemble(split, Draws((np.arange(count),), drawn))
    order = np.random.default_rng(seed).permutation(count)
    batches = tuple(order[start : start + batch_size] for start in range(0, count, batch_size))
    for (images, _), indices in zip(assemble(split, Draws(batches, drawn)), batches, strict=True):
        assert images.tobytes() == alone[indices].tobytes()


def test_what_is_not_drawn_takes_its_place_among_what_is():
    steps = (FLIP, CenterCrop(size=4), CROP, Resize(size=3, interpolation="nearest"))
    split = split_of(9, augment=steps)
    drawn = (words_for(9, 1, 0), words_for(9, 2, 1))
    expected = split.images
    for step, words in zip(steps, (drawn[0], None, drawn[1], None), strict=True):
        expected = apply(step, expected, words if step.words else np.empty((9, 0), np.uint64))
    (found,) = augmented(split, Draws((np.arange(9)[::-1],), drawn))
    np.testing.assert_array_equal(found, expected[::-1])
    ((images, _),) = assemble(split, Draws((np.arange(9)[::-1],), drawn))
    np.testing.assert_array_equal(images, normal(split, found))


def test_an_augmentation_without_draws_is_not_left_out_in_silence():
    split = split_of(4, augment=(FLIP,))
    with pytest.raises(ValueError, match="zip"):
        list(assemble(split, Draws((np.arange(4),))))


# ---- augmentation


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.integers(1, 9),
    padding=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_a_crop_is_a_window_of_the_zero_padded_image(height, width, size, padding, seed):
    step = RandomCrop(size=min(size, height + 2 * padding, width + 2 * padding), padding=padding)
    pixels = np.random.default_rng(seed).integers(1, 256, (5, 2, height, width), dtype=np.uint8)
    words = words_for(5, 2, seed)
    tops, lefts = crop_offsets(step, (height, width), words)
    for image, top, left, cut in zip(pixels, tops, lefts, apply(step, pixels, words), strict=True):
        assert 0 <= top <= height + 2 * padding - step.size
        assert 0 <= left <= width + 2 * padding - step.size
        for row, column in np.ndindex(step.size, step.size):
            y, x = top + row - padding, left + column - padding
            inside = 0 <= y < height and 0 <= x < width
            np.testing.assert_array_equal(cut[:, row, column], image[:, y, x] if inside else 0)


def test_the_first_word_decides_the_top_and_the_second_the_left():
    # Part of what makes a run reproducible: swapped, every recipe with crops would give other numbers.
    words = np.array([[0, 3], [2**64 - 1, 81 + 8]], dtype=np.uint64)
    tops, lefts = crop_offsets(RandomCrop(size=32, padding=4), (32, 32), words)
    assert tops.tolist() == [0, (2**64 - 1) % 9]
    assert lefts.tolist() == [3, 8]


def test_every_place_of_a_crop_is_drawn_about_as_often():
    tops, lefts = crop_offsets(RandomCrop(size=32, padding=4), (32, 32), words_for(81_000, 2, 0))
    counts = np.bincount(tops * 9 + lefts, minlength=81)
    assert counts.shape == (81,)
    # chi-squared over 81 cells: mean 80, standard deviation sqrt(160)
    assert ((counts - 1000) ** 2 / 1000).sum() < 80 + 5 * np.sqrt(160)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_mirrored_images_is_p(p):
    share = flipped(RandomHorizontalFlip(p=p), words_for(40_000, 1, 0)).mean()
    assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 40_000)


@given(seed=st.integers(0, 99), p=st.floats(0, 1))
def test_a_flip_mirrors_left_to_right_or_leaves_alone(seed, p):
    step, words = RandomHorizontalFlip(p=p), words_for(6, 1, seed)
    pixels = split_of(6, seed=seed).images
    for image, result, mirrored in zip(pixels, apply(step, pixels, words), flipped(step, words), strict=True):
        np.testing.assert_array_equal(result, image[:, :, ::-1] if mirrored else image)


@pytest.mark.parametrize("step", [CROP, FLIP])
def test_augmentation_leaves_its_input_alone(step):
    pixels = split_of(6).images
    before = pixels.copy()
    apply(step, pixels, words_for(6, 2, 0))
    np.testing.assert_array_equal(pixels, before)


# ---- prefetching


def running():
    return [thread for thread in threading.enumerate() if thread.name == "xtrain-prefetch"]


@settings(max_examples=20, deadline=None)
@given(items=st.lists(st.integers() | st.none(), max_size=30), depth=st.integers(1, 5))
def test_prefetching_keeps_the_order_and_ends(items, depth):
    assert list(prefetch(iter(items), depth)) == items
    assert not running()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_is_raised_after_the_items_before_it(error):
    def source():
        yield from range(3)
        raise error

    items = prefetch(source())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(type(error)) as caught:
        next(items)
    assert caught.value is error
    assert not running()


def endless(made):
    while True:
        made.append(len(made))
        yield made[-1]


@pytest.mark.parametrize("depth", [1, 3])
def test_it_stays_within_its_depth(depth):
    made = []
    items = prefetch(endless(made), depth)
    assert next(items) == 0
    for _ in range(100):  # give the thread every chance to run ahead
        if len(made) > 1 + depth:
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.05)
    assert len(made) == 1 + depth + 1  # one taken, `depth` waiting, one in its hand
    items.close()


def test_leaving_early_stops_the_thread():
    for item in prefetch(endless([])):
        if item == 5:
            assert running()
            break
    assert not running()


def test_an_error_of_the_consumer_stops_the_thread():
    items = prefetch(endless([]))

    def consume():
        try:
            for _ in items:
                raise RuntimeError("consumer")
        finally:
            items.close()

    with pytest.raises(RuntimeError, match="consumer"):
        consume()
    assert not running()


def test_nothing_runs_before_the_first_item_is_asked_for():
    made = []
    items = prefetch(endless(made))
    assert not made
    assert not running()
    items.close()
