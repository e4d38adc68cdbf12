"""What a backend says of itself, and what it must refuse."""

import dataclasses
from typing import Any, cast

import pytest

from xtrain import plugins
from xtrain.conformance.cases import CONVOLUTIONAL, LAYERS, LOSS, MLP, OPTIMIZERS, Case
from xtrain.errors import BackendError, UnsupportedError
from xtrain.protocols import Backend
from xtrain.spec import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    ModelSpec,
    OptimizerSpec,
    RMSprop,
)
from xtrain.spec.loss import Loss
from xtrain.spec.optimizer import Optimizer


def test_probe_finds_the_device_in_use(backend: Backend) -> None:
    backend.model(MLP)
    probe = backend.probe()
    assert probe.problem is None
    assert probe.version
    assert backend.device in probe.devices
    assert probe.precisions


def test_environment_is_names_and_values(backend: Backend) -> None:
    for threads in (None, 1, 2):
        for key, value in backend.environment(CONVOLUTIONAL, threads).items():
            assert key
            assert isinstance(value, str)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_every_layer_is_explained(case: Case, backend: Backend) -> None:
    terms = backend.explain(case.model, LOSS, SGD())
    for node in case.model.walk():
        assert terms[f"model.{node.path}"]
    assert terms["loss"]


@pytest.mark.parametrize("spec", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_every_optimizer_key_is_explained(spec: OptimizerSpec, backend: Backend) -> None:
    terms = backend.explain(MLP, LOSS, spec)
    for field in dataclasses.fields(spec):
        assert terms[f"optimizer.{field.name}"]


@pytest.mark.parametrize(
    ("spec", "key", "value"),
    [
        (SGD(momentum=0.9), "momentum", 0.8),
        (SGD(momentum=0.9), "dampening", 0.1),
        (SGD(momentum=0.9), "nesterov", True),
        (SGD(), "weight_decay", 0.1),
        (Adam(), "betas", (0.5, 0.6)),
        (Adam(), "eps", 1e-3),
        (Adam(), "weight_decay", 0.1),
        (Adam(), "decay_exclude", ("bias", "norm")),
        (Adam(), "l1", 0.1),
        (Adam(), "l2", 0.1),
        (Adam(), "clip_value", 0.1),
        (Adam(), "clip_norm", 0.1),
        (Adam(), "ema", 0.1),
        (AdamW(), "weight_decay", 0.1),
        (RMSprop(), "alpha", 0.1),
        (RMSprop(), "momentum", 0.1),
        (RMSprop(), "centered", True),
        (Adagrad(), "lr_decay", 0.1),
    ],
)
def test_an_explanation_follows_the_value(
    spec: OptimizerSpec, key: str, value: Any, backend: Backend
) -> None:
    changed = dataclasses.replace(spec, **{key: value})
    terms = [backend.explain(MLP, LOSS, each)[f"optimizer.{key}"] for each in (spec, changed)]
    assert terms[0] != terms[1]


@pytest.mark.needs("images")
@pytest.mark.parametrize(
    "changed",
    [{"out_channels": 5}, {"kernel_size": 2}, {"stride": 2}, {"padding": 1}, {"bias": False}],
    ids=lambda changed: next(iter(changed)),
)
def test_an_explanation_follows_the_layer(changed: dict[str, Any], backend: Backend) -> None:
    terms = []
    for options in ({}, changed):
        arguments: dict[str, Any] = {"out_channels": 4, "kernel_size": 3, **options}
        convolution = Conv2d(**arguments)
        model = ModelSpec("m", (3, 8, 8), (convolution, Flatten(), Linear(out_features=5)))
        terms.append(backend.explain(model, LOSS, SGD())["model.conv1"])
    assert terms[0] != terms[1]


class _Unheard(Layer):
    op = "unheard"


def test_an_unknown_layer_is_refused(backend: Backend) -> None:
    model = ModelSpec("m", (4,), (_Unheard(name="strange"), Linear(out_features=5)))
    with pytest.raises(UnsupportedError, match="strange"):
        backend.model(model)


@pytest.mark.parametrize("name", ["forward", "construct", "train", "weight", "parameters", "layers.0"])
def test_a_layer_keeps_its_name_or_is_refused(name: str, backend: Backend) -> None:
    """Whatever members the framework's own module has."""
    model = ModelSpec("m", (4,), (Linear(name=name, out_features=5),))
    try:
        state = backend.model(model).state()
    except UnsupportedError as error:
        if repr(name) not in str(error):
            raise  # not for its name
    else:
        assert list(state) == [f"{name}.weight", f"{name}.bias"]


def test_an_unknown_optimizer_is_refused(backend: Backend) -> None:
    class Unheard(Optimizer):
        pass

    model = backend.model(MLP)
    with pytest.raises(UnsupportedError, match="Unheard"):
        backend.optimizer(cast(OptimizerSpec, Unheard(name="unheard")), model)


def test_an_unknown_loss_is_refused(backend: Backend) -> None:
    class Unheard(Loss):
        pass

    model = backend.model(MLP)
    optimizer = backend.optimizer(SGD(), model)
    with pytest.raises(UnsupportedError, match="Unheard"):
        backend.loop(model, Unheard(name="unheard"), optimizer)


@pytest.mark.parametrize("device", ["gpu:99", "ascend:99", "toaster", "cpu:1", "gpu:x", ""])
def test_a_device_that_is_not_there_is_refused(device: str, backend: Backend) -> None:
    with pytest.raises(BackendError, match=backend.name):
        plugins.load(backend.name, device).model(MLP)
