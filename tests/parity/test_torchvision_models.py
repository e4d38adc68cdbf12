"""Our models against torchvision's: names, shapes, initial weights, counts, logits under every backend."""

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_models
import torchinfo

from xtrain import models, plugins
from xtrain.spec import BatchNorm2d, Conv2d, MaxPool2d, ModelSpec, Residual

LOGITS = Path(__file__).parent / "model_logits.py"
BACKENDS = ("numpy", "torch", "paddle", "mindspore")
IMAGENET, CIFAR, SVHN = (3, 64, 64), (3, 32, 32), (3, 28, 28)
BOUND = 1e-4
"""Of logits, relative to the largest; measured: 4.2e-6 at most (paddle, vgg16_bn), 0 under torch."""

PLAIN = {name: (name, {}, IMAGENET, 1000) for name in torch_models.VGGS + torch_models.RESNETS}
MADE = {
    **{f"{name} cifar": (name, {"head": "cifar"}, CIFAR, 100) for name in torch_models.VGGS},
    **{f"{name} cifar": (name, {"stem": "cifar"}, CIFAR, 100) for name in torch_models.RESNETS},
    **{name: (name, {}, SVHN, 10) for name in ("svhn_resnet", "svhn_resnet2", "svhn_vgg")},
    "WRN-16-2": ("wide_resnet", {"depth": 16, "width": 2}, CIFAR, 10),
    "WRN-16-1": ("wide_resnet", {"depth": 16, "width": 1}, CIFAR, 10),
    "WRN-28-10": ("wide_resnet", {"depth": 28, "width": 10}, CIFAR, 10),
    "lstm": ("lstm", {"hidden_size": 64, "num_layers": 2}, (3, 28, 24), 10),
}
every_model = pytest.mark.parametrize("case", (PLAIN | MADE).values(), ids=PLAIN | MADE)


def spec_of(case):
    name, options, shape, classes = case
    return models.build(name, shape, classes, **options)


@every_model
def test_tensors_are_torchvisions_by_name_shape_and_order(case):
    name, options, _, classes = case
    tensors = torch_models.outline(name, classes, **options).state_dict()
    theirs = [(key, tuple(value.shape)) for key, value in tensors.items() if "num_batches" not in key]
    ours = [(key, tensor.shape) for key, tensor in spec_of(case).tensors.items()]
    if name == "wide_resnet":  # what ends up in which order is our own affair
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs


@every_model
@pytest.mark.parametrize("batch", [1, 10])
def test_counts_are_torchinfos(case, batch):
    name, options, shape, classes = case
    outline = torch_models.outline(name, classes, **options)
    theirs = torchinfo.summary(outline, (batch, *shape), device="meta", verbose=0)
    ours = spec_of(case)
    assert ours.parameters == theirs.total_params == theirs.trainable_params
    assert batch * ours.multiply_adds == theirs.total_mult_adds
    assert batch * ours.activation_memory == theirs.total_output_bytes
    assert ours.parameter_memory == theirs.total_param_bytes


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11_bn", "vgg11"])
def test_initial_weights_have_torchvisions_distribution(name):
    torch.manual_seed(0)
    state = torch_models.state(torch_models.make(name, 1000))
    for key, tensor in spec_of(PLAIN[name]).tensors.items():
        value = state[key].astype(np.float64)
        spread = math.hypot(tensor.std, tensor.bound / math.sqrt(3))
        # Five standard errors of a standard deviation, and of a mean.
        assert abs(value.std() - spread) <= 5 * spread / math.sqrt(2 * value.size), key
        assert abs(value.mean() - tensor.fill) <= 5 * spread / math.sqrt(value.size), key
        assert abs(value).max() <= tensor.bound * (1 + 1e-6) or not tensor.bound, key


def images(shape):
    return np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)


def logits_of(module, shape):
    with torch.no_grad():
        return module(torch.from_numpy(images(shape))).numpy()


def apart(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def under_torch(spec, state):
    model = plugins.load("torch", "cpu").model(spec)
    model.load(state)
    return model.predict(images(spec.input_shape))


SMALL = {
    name: case for name, case in MADE.items() if "vgg" not in name or name in ("vgg11 cifar", "svhn_vgg")
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_logits_are_those_of_the_parts_it_is_made_from(case):
    name, options, shape, classes = case
    module = torch_models.settled(name, classes, **options)
    found = under_torch(spec_of(case), torch_models.state(module))
    assert apart(found, logits_of(module, shape)) < BOUND


NAMES = ("resnet18", "resnet50", "vgg16_bn")


@pytest.fixture(scope="module")
def exported():
    """A folder with weights and images of each of NAMES, and torchvision's logits; 0.7 GB, so not kept."""
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            module = torch_models.settled(name, 1000)
            expected[name] = logits_of(module, IMAGENET)
            np.savez(Path(folder) / f"{name}.npz", images=images(IMAGENET), **torch_models.state(module))
        yield folder, expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_torchvisions_weights_give_torchvisions_logits(backend, exported):
    folder, expected = exported
    command = [sys.executable, LOGITS, backend, folder, *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    worst = {name: apart(np.array(found[name]), expected[name]) for name in NAMES}
    print(f"\n{backend}: {worst}")  # noqa: T201 - shown with -s
    assert max(worst.values()) < BOUND, worst


def changed(layers, change):
    """Layers with `change` applied to every list of them, those of residuals first."""
    inner = [
        replace(layer, body=changed(layer.body, change), shortcut=changed(layer.shortcut, change))
        if isinstance(layer, Residual)
        else layer
        for layer in layers
    ]
    return tuple(change(inner))


def swap_the_first(kind):
    """In every list the first layer of a kind and the one after it change places."""

    def change(layers):
        place = next((i for i, layer in enumerate(layers[:-1]) if isinstance(layer, kind)), None)
        if place is not None:
            layers[place], layers[place + 1] = layers[place + 1], layers[place]
        return layers

    return change


def every(kind, **values):
    def change(layers):
        return [replace(layer, **values) if isinstance(layer, kind) else layer for layer in layers]

    return change


def stride_before_the_middle(layers):
    """As the paper's bottlenecks have it; torchvision's have the stride in the 3x3 convolution."""
    strides = {layer.name: layer.stride for layer in layers if isinstance(layer, Conv2d)}
    if "conv3" not in strides:
        return layers
    moved = {"conv1": strides["conv2"], "conv2": 1}
    return [replace(x, stride=moved[x.name]) if x.name in moved else x for x in layers]


MUTANTS = {
    "norm after ReLU": ("resnet18", swap_the_first(BatchNorm2d)),
    "another eps": ("resnet18", every(BatchNorm2d, eps=1e-3)),
    "no padding of the pool": ("resnet18", every(MaxPool2d, padding=0)),
    "stride in the wrong convolution": ("resnet50", stride_before_the_middle),
    "no ReLU after the sum": ("resnet18", lambda layers: [x for x in layers if x.name != "layer3.1_relu"]),
}


@pytest.mark.parametrize(("name", "change"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_has_other_logits(name, change):
    module = torch_models.settled(name, 1000)
    spec, state = spec_of(PLAIN[name]), torch_models.state(module)
    mutant = ModelSpec(name, IMAGENET, changed(spec.layers, change))
    assert sorted(mutant.tensors) == sorted(spec.tensors)
    expected = logits_of(module, IMAGENET)
    assert (
        apart(under_torch(spec, state), expected) < BOUND < apart(under_torch(mutant, state), expected) / 10
    )
