"""A loaded model: the framework's own forward gives what `predict` says, and so does an evaluation."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xtrain
from xtrain import data
from xtrain.errors import DataError, UsageError

NET = {"layers": [
    {"op": "conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
    {"op": "batch_norm2d"},
    {"op": "relu"},
    {"op": "adaptive_avg_pool2d", "output_size": 2},
    {"op": "flatten"},
    {"op": "dropout", "p": 0.5},
    {"op": "linear", "out_features": 10},
]}  # fmt: skip
RECIPE = {
    "name": "loaded",
    "data": {"name": "digits", "batch_size": 64, "eval_batch_size": 100},
    "model": NET,
    "optimizer": {"name": "adam", "lr": 0.01},
    "loop": {"epochs": 2},
}
FORWARD = """
import json, sys
import numpy as np
import xtrain
from xtrain import data

def torch(native, images):
    import torch
    with torch.no_grad():
        return native(torch.from_numpy(images)).numpy()

def paddle(native, images):
    import paddle
    with paddle.no_grad():
        return native(paddle.to_tensor(images)).numpy()

def mindspore(native, images):
    import mindspore
    return native(mindspore.Tensor(images)).asnumpy()

backend, run = sys.argv[1:]
__import__(backend)  # as a program has it that uses the framework itself
model = xtrain.load(run, backend=backend)
pixels = data.load("digits").test_images
normalize = model.run.job.normalize
fed = (pixels.astype(np.float32) / 255 - np.float32(normalize.mean)) / np.float32(normalize.std)
logits = globals()[backend](model.native, fed).astype(np.float64)
odds = np.exp(logits - logits.max(1, keepdims=True))
expected, found = odds / odds.sum(1, keepdims=True), model.predict(pixels)
print(json.dumps({
    "far": float(np.abs(found - expected).max()),
    "as_fed": float(np.abs(found - model.predict(fed)).max()),
    "accuracy": float((found.argmax(1) == data.load("digits").test_labels).mean()),
    "classes": model.classes,
}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return xtrain.run(RECIPE, backend="numpy", out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


@pytest.mark.parametrize("backend", ["torch", "paddle", "mindspore"])
def test_the_native_module_gives_what_predict_says(backend, run):
    command = [sys.executable, "-W", "error::UserWarning:xtrain", "-c", FORWARD, backend, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["far"] < 2e-6  # a few units in the last place of a float32 probability
    assert said["as_fed"] < 2e-6
    assert said["accuracy"] == pytest.approx(run.best["test_accuracy"], abs=1.1 / 360)
    assert said["classes"] == [str(digit) for digit in range(10)]


@pytest.fixture
def alone(monkeypatch):
    """Other tests of this process may have loaded a framework."""
    for name in ("torch", "paddle", "mindspore", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def model(run, alone):
    return xtrain.load(run, backend="numpy")


def test_what_it_predicts_is_as_right_as_the_evaluation_says(run, model):
    digits = data.load("digits")
    found = model.predict(digits.test_images)
    assert (found.shape, found.dtype) == ((360, 10), np.float32)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
    said = xtrain.evaluate(run, checkpoint="best")
    assert (found.argmax(axis=1) == digits.test_labels).mean() == said["accuracy"]
    assert model.checkpoint == run.checkpoint("best")
    cross_entropy = -np.log(found[np.arange(360), digits.test_labels].astype(np.float64)).mean()
    assert cross_entropy == pytest.approx(said["loss"], rel=1e-5)


def test_one_image_is_a_batch_of_one_and_none_is_none(model):
    images = data.load("digits").test_images
    whole = model.predict(images[:3])
    assert np.allclose(model.predict(images[0]), whole[:1], atol=1e-7)
    assert model.predict(images[:0]).shape == (0, 10)
    assert model.predict(list(images[:3])).shape == (3, 10)


def test_files_are_read_in_the_channels_of_the_run(model, tmp_path):
    images = data.load("digits").test_images[:2]
    paths = [tmp_path / "grey.png", str(tmp_path / "colours.png")]
    Image.fromarray(images[0, 0]).save(paths[0])
    Image.fromarray(images[1, 0]).convert("RGB").save(paths[1])
    assert np.array_equal(model.predict(paths), model.predict(images))
    assert np.array_equal(model.predict(paths[1]), model.predict(images[1]))
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(paths[0])
    with pytest.raises(DataError, match=r"grey\.png: is 8x9, and the run's images are 8x8"):
        model.predict(paths)
    with pytest.raises(DataError, match=r"missing\.png: can't be read: .*No such file"):
        model.predict(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="is neither PNG nor JPEG"):
        model.predict(tmp_path / "text.png")


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((2, 1, 8, 8), np.int64), "images are int64\n  give uint8, pixels from 0 to 255, or floats"),
        (np.zeros((8, 8), np.uint8), r"uint8 of shape \(8, 8\)\n.* \[B, 1, 8, 8\], or one image \[1, 8, 8\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), r"uint8 of shape \(2, 8, 8, 1\)"),
        (np.zeros((2, 3, 8, 8), np.float32), r"float32 of shape \(2, 3, 8, 8\)"),
        ([], r"float64 of shape \(0,\)"),
    ],
)
def test_other_shapes_and_types_are_told_what_is_expected(images, told, model):
    with pytest.raises(UsageError, match=told):
        model.predict(images)


def test_transforms_of_the_evaluation_and_log_probabilities_are_the_runs(alone, tmp_path):
    changes = {
        "data.eval_transform": [{"op": "center_crop", "size": 6}],
        "data.augment": [{"op": "center_crop", "size": 6}],
        "model.layers": [*NET["layers"], {"op": "log_softmax"}],
        "loss.name": "nll",
    }
    run = xtrain.run(RECIPE, backend="numpy", overrides=changes, epochs=1, out=tmp_path / "run", quiet=True)
    model = xtrain.load(run)
    digits = data.load("digits")
    found = model.predict(digits.test_images)
    assert model.input_shape == (1, 6, 6)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)
    assert (found.argmax(axis=1) == digits.test_labels).mean() == run.best["test_accuracy"]
    with pytest.raises(UsageError, match=r"uint8 of shape \(1, 6, 6\)\n.*\[1, 8, 8\]"):
        model.predict(digits.test_images[0, :, 1:7, 1:7])
    assert model.predict(np.zeros((1, 6, 6))).shape == (1, 10)


def test_images_of_a_folder_are_brought_to_their_size_as_in_the_training(alone, tmp_path):
    rng = np.random.default_rng(0)
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "pets" / place).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (10 + number, 14, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / place / f"{number}.png")
    section = {"name": "image_folder", "path": str(tmp_path / "pets"), "image_size": 8, "fit": "center_crop"}
    recipe = {**RECIPE, "data": {**section, "batch_size": 4}, "model": {"name": "mlp", "hidden": []}}
    run = xtrain.run(recipe, backend="numpy", out=tmp_path / "run", quiet=True)
    paths = sorted((tmp_path / "pets/test").rglob("*.png"))
    found = xtrain.load(run).predict(paths)
    arrays = data.load(run.recipe.data.dataset)
    assert np.array_equal(found, xtrain.load(run).predict(arrays.test_images))
    assert xtrain.load(run.path).classes == ("cat", "dog")


def test_a_checkpoint_is_named_or_its_folder_given(run, alone):
    last, first = run.checkpoint("last"), run.checkpoint("step-23")
    assert xtrain.load(run.path, checkpoint="last").checkpoint == last
    assert xtrain.load(first).checkpoint == first
    assert xtrain.load(run.path / "checkpoints/last").checkpoint == last
    with pytest.raises(UsageError, match="has no checkpoint 'step-5'"):
        xtrain.load(run, checkpoint="step-5")
    with pytest.raises(UsageError, match="is not a run directory"):
        xtrain.load(Path("nowhere"))


def test_a_process_that_has_another_framework_says_what_to_do(run, alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys)
    with pytest.raises(UsageError, match="loaded another framework than numpy's\n  a model lives in"):
        xtrain.load(run, backend="numpy")


@pytest.mark.parametrize("images", [[np.zeros((1, 8, 8)), np.zeros((1, 7, 8))], [[1.0], [1.0, 2.0]]])
def test_what_is_no_array_is_told(images, model):
    with pytest.raises(UsageError, match="can't be made one array"):
        model.predict(images)
