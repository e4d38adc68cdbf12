"""The benchmarks still run: a few steps on small files in the true formats. No figure is judged."""

import gzip
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xtrain.bench import native
from xtrain.bench.native import Loop
from xtrain.bench.trial import Limit
from xtrain.recipe import load_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    (root / "mnist").mkdir()
    for split, count in (("train", 1600), ("t10k", 100)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count) % 10
        images[np.arange(count), 2 * labels] = 255  # two rows of a class tell it, so that it is learned
        images[np.arange(count), 2 * labels + 1] = 255
        write_idx(root / "mnist" / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(root / "mnist" / f"{split}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    folder = root / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        images = random.integers(0, 256, (40, 3072), dtype=np.uint8)
        content = {b"data": images, b"labels": [place % 10 for place in range(40)]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return root


@pytest.fixture
def modules(monkeypatch):
    """The modules of benchmarks/ as a script there sees them."""
    monkeypatch.syspath_prepend(BENCHMARKS / "native")
    monkeypatch.syspath_prepend(BENCHMARKS)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


def run(script, *arguments):
    command = [sys.executable, BENCHMARKS / script, *arguments]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pixels(data, split):
    """Images [N, 784] of a split as recipe mnist_mlp normalises them, float64."""
    images = gzip.decompress((data / "mnist" / f"{split}-images-idx3-ubyte.gz").read_bytes())[16:]
    return (np.frombuffer(images, dtype=np.uint8).reshape(-1, 784) / 255 - 0.1307) / 0.3081


def trained(data, weights, order):
    """Loss of every step of an epoch in batches of 64, and then the test accuracy, in float64."""
    images, losses = pixels(data, "train"), []
    w = [weights[f"fc{n}.weight"].T.astype(np.float64) for n in (1, 2, 3)]
    b = [weights[f"fc{n}.bias"].astype(np.float64) for n in (1, 2, 3)]

    def forward(x):
        inputs = [x, np.maximum(x @ w[0] + b[0], 0)]
        inputs.append(np.maximum(inputs[1] @ w[1] + b[1], 0))
        return inputs, inputs[2] @ w[2] + b[2]

    for batch in order.reshape(-1, 64):
        inputs, logits = forward(images[batch])
        rows, labels = np.arange(64), batch % 10
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        losses.append(-np.log(shares[rows, labels]).mean())
        shares[rows, labels] -= 1
        gradient = shares / 64
        for layer in (2, 1, 0):
            before = gradient @ w[layer].T * (inputs[layer] > 0)
            w[layer] -= 1e-2 * inputs[layer].T @ gradient
            b[layer] -= 1e-2 * gradient.sum(0)
            gradient = before
    found = forward(pixels(data, "t10k"))[1].argmax(1)
    return losses, (found == np.arange(100) % 10).mean()


def test_a_native_loop_trains_what_xtrain_does(data, modules, tmp_path):
    import accuracy

    start = accuracy.start(load_recipe("mnist_mlp"), tmp_path, samples=1600)
    losses = tmp_path / "losses.json"
    printed = run(
        "native/torch_native.py",
        "mnist_mlp",
        "--style",
        "resident",
        "--data",
        data,
        *start,
        "--losses",
        losses,
    )
    record = json.loads(printed)
    assert record["steps"] == record["steps_per_epoch"] == 25
    assert len(record["epoch_seconds"]) == 1
    assert record["losses"] == json.loads(losses.read_text())
    weights, order = np.load(start[1]), np.load(start[3])
    expected, accuracy_then = trained(data, weights, order[0])
    assert record["losses"] == pytest.approx(expected, rel=1e-5)
    assert accuracy_then > 0.3
    assert record["test_accuracy"] == pytest.approx(accuracy_then, abs=0.01)  # rounding may turn one of 100


def test_cifar_files_are_read(data, modules):
    import arrays

    found = arrays.read(data, "cifar10")
    assert found.train_images.shape == (200, 32, 32, 3)
    assert found.train_labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    with (data / "cifar10" / "cifar-10-batches-py" / "test_batch").open("rb") as file:
        pixels = pickle.load(file)[b"data"].reshape(-1, 3, 32, 32)  # noqa: S301 - written above
    np.testing.assert_allclose(found.normalised(found.test_images), pixels / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("style", native.STYLES)
def test_a_native_loop_is_timed_beside_xtrain(data, style):
    trial = native.measure(Loop("torch", style), load_recipe("mnist_mlp"), data, Limit(steps=3))
    assert (trial.steps, trial.samples) == (3, 64)
    assert trial.seconds > 0
    assert trial.peak_memory > 2**24


def test_a_native_loop_ends_when_its_time_is_up(data):
    recipe, limit = load_recipe("mnist_mlp"), Limit(steps=5, seconds=1e-9)
    assert native.measure(Loop("torch", "resident"), recipe, data, limit).steps == 1
