"""What is written as ONNX, run by onnxruntime, gives the logits of the float64 reference."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnxruntime
import pytest

from xtrain import data, load_recipe, models, plan, plugins
from xtrain.conformance.compare import MULTIPLE
from xtrain.conformance.noise import distance, least, nudged
from xtrain.data.batches import assemble
from xtrain.export import onnx as onnx_export
from xtrain.export.onnx import Graph, Onnx
from xtrain.spec import BatchNorm2d, StepInput
from xtrain.training.assembly import splits

CUSTOM = [
    {"op": "conv2d", "name": "images", "out_channels": 6, "kernel_size": 3, "padding": 1, "bias": False},
    {"op": "avg_pool2d", "kernel_size": 3, "stride": 2, "padding": 1},
    {"op": "residual", "body": [{"op": "batch_norm2d", "eps": 0.01}, {"op": "relu"}]},
    {"op": "adaptive_avg_pool2d", "output_size": 3},
    {"op": "flatten"},
    {"op": "dropout"},
    {"op": "linear", "name": "logits", "out_features": 10, "bias": False},
    {"op": "log_softmax"},
]
"""The image of 14x13 is 7x7 where the adaptive pool takes it; two layers are called as the graph's ends."""
MODELS = {
    "mlp": models.build("mlp", (1, 8, 8), 10, hidden=[64, 32]),
    "lenet": models.build("lenet", (1, 28, 28), 10),
    "simplecnn": models.build("simplecnn", (3, 16, 16), 10, hidden=[32], dropout=0.5),
    "resnet18": models.build("resnet18", (3, 64, 64), 10),
    "resnet50": models.build("resnet50", (3, 32, 32), 10),
    "vgg11_bn": models.build("vgg11_bn", (3, 32, 32), 10, head="cifar"),
    "wide_resnet": models.build("wide_resnet", (3, 32, 32), 10, depth=16, width=1),
    "svhn_resnet": models.build("svhn_resnet", (3, 28, 28), 10),
    "svhn_vgg": models.build("svhn_vgg", (3, 28, 28), 10),
    "lstm": models.build("lstm", (3, 12, 10), 10, hidden_size=16, num_layers=2),
    "custom": models.build("custom", (2, 14, 13), 10, layers=CUSTOM),
}
BATCH = 4


@dataclass(frozen=True)
class Case:
    """A model with weights, images, the logits of the reference, and what rounding does to these."""

    weights: dict
    images: np.ndarray
    logits: np.ndarray
    floor: float


@cache
def case(name):
    spec = MODELS[name]
    model = plugins.load("numpy").model(spec)
    images = np.random.default_rng(1).standard_normal((BATCH, *spec.input_shape)).astype(np.float32)
    weights = settled(model, images)

    def predict(seed):
        moved = nudged({**weights, "images": images}, seed) if seed else {**weights, "images": images}
        model.load(moved)
        return model.predict(moved["images"])

    logits = predict(0)
    floor = max(*(distance(predict(seed), logits) for seed in (1, 2, 3)), least(logits))
    return Case(weights, images, logits, floor)


def settled(model, images):
    """Weights of the plan; of batch norms none is 0 or 1, and statistics are near those of the images."""
    rng = np.random.default_rng(0)
    weights = plan.initial_state(0, model.spec)
    norms = [node for node in model.spec.walk() if isinstance(node.layer, BatchNorm2d)]
    for node in norms:
        for name in ("weight", "bias"):
            weights[f"{node.path}.{name}"] += rng.uniform(-0.3, 0.3, node.input_shape[0]).astype(np.float32)
    model.load(weights)
    model.trace(images, StepInput(1, 0.1, dropout_keys=plan.dropout_keys(0, 1, model.spec)))
    moved = model.state()
    for node in norms:
        for name in (f"{node.path}.running_mean", f"{node.path}.running_var"):
            batch = weights[name] + (moved[name] - weights[name]) / node.layer.momentum
            weights[name] = (batch * rng.uniform(0.8, 1.2, batch.shape)).astype(np.float32)
    return weights


def run(path, images):
    """Logits of a file, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    return logits


def error(name, folder):
    """The largest error of a model's logits, of a batch and of one image, in units of the noise floor."""
    this, path = case(name), folder / f"{name}.onnx"
    Onnx().write(path, MODELS[name], None, this.weights, None)
    errors = []
    for count in (BATCH, 1):
        logits, expected = run(path, this.images[:count]), this.logits[:count]
        assert (logits.dtype, logits.shape) == (np.float32, expected.shape)
        errors.append(distance(logits, expected))
    return max(errors) / this.floor


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_the_references(name, tmp_path):
    this = case(name)
    assert np.abs(this.logits).max() > 0.01  # nothing has died on the way
    found = error(name, tmp_path)
    relative = found * this.floor / np.abs(this.logits).max()
    print(f"\n{name}: {found:.2f} floors, {relative:.1e} of the largest logit")  # noqa: T201 - shown with -s
    assert found <= MULTIPLE


def given(op, **wrong):
    """Other attributes for every node of an operator."""
    add = Graph.add

    def other(self, kind, path, *inputs, **attributes):
        return add(self, kind, path, *inputs, **{**attributes, **(wrong if kind == op else {})})

    return Graph, "add", other


def even(pixels, cells):
    """Means over cells of one size, the last pixels left over."""
    size = pixels // cells
    means = np.eye(cells, dtype=np.float32).repeat(size, axis=1) / size
    return np.pad(means, ((0, 0), (0, pixels - cells * size)))


MUTANTS = {
    "gates in PyTorch's order": ("lstm", onnx_export, "_gates", lambda value: value),
    "padding that does not count": ("custom", *given("AveragePool", count_include_pad=0)),
    "cells of one size": ("custom", onnx_export, "_means", even),
    "another eps": ("custom", *given("BatchNormalization", epsilon=1e-5)),
    "log-probabilities over the batch": ("custom", *given("LogSoftmax", axis=0)),
}


@pytest.mark.parametrize(("name", "owner", "part", "wrong"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_has_other_logits(name, owner, part, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(owner, part, wrong)
    found = error(name, tmp_path)
    print(f"\n{found:.0f} floors")  # noqa: T201 - shown with -s
    assert found > 100 * MULTIPLE


def test_a_run_has_the_accuracy_that_eval_says(xtrain):
    """With averaged weights, which evaluation uses."""
    short = ("digits_mlp", "--epochs", 2, "--set", "optimizer.ema=0.9", "--threads", 1)
    assert xtrain("run", *short, "--backend", "numpy", "--out", "run").code == 0
    done = xtrain("convert", "run", "model.onnx")
    rounded = "6 tensors, no optimizer state, rounded from float64 to float32"
    assert (done.code, done.out, done.err) == (0, f"model.onnx: {rounded}\n", "")

    job = load_recipe(xtrain.folder / "run/recipe.toml").bind()
    test = data.load(job.recipe.data.dataset, None)
    _, _, split = splits(job, test)
    ((images, _),) = assemble(split, plan.eval_draws(len(split.labels), len(split.labels)))
    logits = run(xtrain.folder / "model.onnx", images)
    accuracy = (logits.argmax(1) == test.test_labels).mean()
    shifted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -shifted[np.arange(len(logits)), test.test_labels].mean()
    said = xtrain("eval", "run").out
    assert f"test accuracy {accuracy:.4f}, loss {loss:.6f}" in said
