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
        write_idx(root / "mnist" / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(root / "mnist" / f"{split}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
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


def first_loss(data, weights, order):
    """Mean cross entropy of the first batch, in float64."""
    images = gzip.decompress((data / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    pixels = np.frombuffer(images, dtype=np.uint8).reshape(-1, 784)[order]
    x = (pixels / 255 - 0.1307) / 0.3081
    for layer in ("fc1", "fc2", "fc3"):
        x = x @ weights[f"{layer}.weight"].T.astype(np.float64) + weights[f"{layer}.bias"]
        x = np.maximum(x, 0) if layer != "fc3" else x
    chosen = x[np.arange(len(x)), order % 10]
    return float(np.mean(np.log(np.exp(x).sum(1)) - chosen))


def test_a_native_loop_starts_where_xtrain_does(data, modules, tmp_path):
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
    assert 0 <= record["test_accuracy"] <= 1
    assert record["losses"] == json.loads(losses.read_text())
    weights, order = np.load(start[1]), np.load(start[3])
    assert record["losses"][0] == pytest.approx(first_loss(data, weights, order[0, :64]), rel=1e-5)


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
