"""A ReLU after the pool that follows it, with the same numbers to the bit; and how layers are traced."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xtrain_numpy.layers import lower

from xtrain.spec import Conv2d, Flatten, Linear, MaxPool2d, ModelSpec, ReLU, Residual, pools_first, trace


def paths(*layers):
    return [node.path for node in pools_first(ModelSpec("net", (2, 8, 8), layers).nodes)]


def test_a_relu_goes_behind_the_pool():
    conv, flatten = Conv2d(out_channels=2, kernel_size=3), Flatten()
    assert paths(conv, ReLU(), MaxPool2d(kernel_size=2), flatten) == ["conv1", "pool1", "relu1", "flatten1"]


def test_behind_every_pool_that_follows():
    pool = MaxPool2d(kernel_size=2)
    assert paths(ReLU(), pool, pool, ReLU()) == ["pool1", "pool2", "relu1", "relu2"]


def test_other_layers_keep_their_places():
    layers = (MaxPool2d(kernel_size=2), ReLU(), Flatten(), ReLU(), Linear(out_features=3))
    assert paths(*layers) == ["pool1", "relu1", "flatten1", "relu2", "fc1"]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_the_same_to_the_bit(kernel_size, stride, padding, seed):
    """On numbers with many ties and zeros."""
    pool = MaxPool2d(kernel_size=kernel_size, stride=stride, padding=min(padding, kernel_size // 2))
    nodes = ModelSpec("net", (2, 6, 7), (ReLU(), pool)).nodes
    random = np.random.default_rng(seed)
    images = random.integers(-3, 3, (2, 2, 6, 7)).astype(np.float64)
    outputs, backs = zip(*(through(order, images) for order in (nodes, pools_first(nodes))), strict=True)
    np.testing.assert_array_equal(*outputs)
    gradient = random.integers(-3, 4, outputs[0].shape).astype(np.float64)
    np.testing.assert_array_equal(*(back(gradient) for back in backs))


def through(nodes, x):
    """Outputs of layers in this order, and the way back."""
    ways = []
    for node in nodes:
        x, back = lower(node)({}, x, None)
        ways.append(back)

    def backward(gradient):
        for back in reversed(ways):
            gradient = back(gradient, {})
        return gradient

    return x, backward


@pytest.fixture
def twice():
    """A net whose layers, traced by `traced`, double what they are given."""
    body = (ReLU(name="a"), MaxPool2d(name="b", kernel_size=1))
    return ModelSpec("net", (1, 2, 2), (Residual(body=body), Flatten())).nodes


def traced(nodes, inputs):
    ran = []

    def layer(node, x):
        ran.append(node.path)
        return 2 * x

    outputs = trace(nodes, np.array([1.0]), inputs, layer, give=np.copy, take=np.copy)
    return {path: float(value[0]) for path, value in outputs.items()}, ran


def test_a_trace_keeps_the_models_order(twice):
    outputs, ran = traced(twice, {})
    assert ran == ["block1.a", "block1.b", "flatten1"]
    assert outputs == {"block1.a": 2, "block1.b": 4, "block1": 5, "flatten1": 10}


def test_a_layer_is_fed_what_it_is_given(twice):
    outputs, _ = traced(twice, {"block1.b": np.array([7.0]), "flatten1": np.array([0.5])})
    assert outputs == {"block1.a": 2, "block1.b": 14, "block1": 15, "flatten1": 1}
