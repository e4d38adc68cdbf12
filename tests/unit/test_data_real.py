"""The published MNIST and CIFAR-10, where they are at hand (fixture `real_data`, a data root)."""

import time

import numpy as np
import pytest

from xtrain import data
from xtrain.data.cifar_python import FORMAT
from xtrain.system.pickles import unpickle

FIRST = {
    "mnist": ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    "cifar10": ([6, 9, 9, 4, 1, 1, 2, 7, 8, 3], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]),
}
COUNTS = {
    "mnist": [
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ],
    "cifar10": [[5000] * 10, [1000] * 10],
}
SECONDS = {"mnist": 1.0, "cifar10": 1.5}


@pytest.fixture(scope="module", params=FIRST)
def loaded(request, real_data):
    """Name, arrays, and the least seconds that loading took."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        arrays = data.load(request.param, real_data)
        seconds.append(time.perf_counter() - start)
    return request.param, arrays, min(seconds)


def test_counts_types_and_first_labels(loaded):
    name, arrays, _ = loaded
    info = data.info(name)
    assert arrays.train_images.shape == (info.train, *info.input_shape)
    assert arrays.test_images.shape == (info.test, *info.input_shape)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.train_images.flags.c_contiguous
    assert (arrays.train_labels[:10].tolist(), arrays.test_labels[:10].tolist()) == FIRST[name]


def test_class_balance(loaded):
    name, arrays, _ = loaded
    assert [np.bincount(labels).tolist() for labels in (arrays.train_labels, arrays.test_labels)] == COUNTS[
        name
    ]


def test_mean_and_std_are_the_published_ones(loaded):
    name, arrays, _ = loaded
    info = data.info(name)
    pixels = np.moveaxis(arrays.train_images, 1, 0).reshape(len(info.mean), -1)
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels]) / pixels.shape[1]
    values = np.arange(256) / 255
    mean = counts @ values
    std = np.sqrt(counts @ values**2 - mean**2)
    np.testing.assert_allclose(mean, info.mean, rtol=0, atol=5.1e-5)
    np.testing.assert_allclose(std, info.std, rtol=0, atol=5.1e-5)


def test_rows_and_channels_are_in_order(loaded):
    name, arrays, _ = loaded
    if name == "mnist":
        row = arrays.train_images[0, 0, 5, 12:24]
        assert row.tolist() == [3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]
    else:
        corner = arrays.train_images[0, :, 0, :3]
        assert corner.T.tolist() == [[59, 62, 63], [43, 46, 45], [50, 48, 43]]


@pytest.mark.slow  # a bound on time holds on a quiet machine only
def test_loading_is_quick(loaded):
    name, _, seconds = loaded
    assert seconds < SECONDS[name]


def test_class_names_are_those_of_the_file(real_data):
    meta = unpickle(real_data / "cifar10/cifar-10-batches-py/batches.meta", FORMAT)
    assert data.info("cifar10").class_names == tuple(name.decode() for name in meta[b"label_names"])
