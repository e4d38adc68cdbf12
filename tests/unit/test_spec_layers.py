"""Single layers and optimizers: shapes by brute force, bounds, and arguments that are refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from xtrain.spec import (
    SGD,
    Adam,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    RandomCrop,
    RandomHorizontalFlip,
    ReLU,
)
from xtrain.spec.tensors import ShapeError, format_shape

sizes = st.integers(1, 40)


def windows(size, kernel, stride, padding):
    """How many windows fit, counted one by one."""
    return sum(1 for start in range(-padding, size + padding, stride) if start + kernel <= size + padding)


@given(
    height=sizes,
    width=sizes,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
)
def test_windows_are_counted_as_they_lie(height, width, kernel, stride, padding):
    expected = [windows(size, kernel, stride, padding) for size in (height, width)]
    conv = Conv2d(out_channels=5, kernel_size=kernel, stride=stride, padding=padding)
    if min(height, width) + 2 * padding < kernel:
        with pytest.raises(ShapeError, match=f"a window of {kernel} does not fit"):
            conv.output_shape((2, height, width))
        return
    assert conv.output_shape((2, height, width)) == (5, *expected)
    for kind in (MaxPool2d, AvgPool2d):
        pool = kind(kernel_size=kernel, stride=stride, padding=padding)
        if padding <= kernel // 2:
            assert pool.output_shape((2, height, width)) == (2, *expected)
        else:
            with pytest.raises(ShapeError, match=f"padding {padding} is more than half of kernel_size"):
                pool.output_shape((2, height, width))


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_a_pool_strides_by_its_kernel_where_nothing_is_said(kind):
    assert kind(kernel_size=3).step == 3
    assert kind(kernel_size=3).output_shape((1, 8, 8)) == (1, 2, 2)
    assert kind(kernel_size=3, stride=1).output_shape((1, 8, 8)) == (1, 6, 6)


@given(shape=st.lists(sizes, min_size=1, max_size=4).map(tuple))
def test_flatten_keeps_every_element(shape):
    assert Flatten().output_shape(shape) == (math.prod(shape),)


@pytest.mark.parametrize("layer", [ReLU(), Dropout()])
def test_layers_by_element_keep_any_shape(layer):
    assert layer.output_shape((3, 4, 5)) == (3, 4, 5)
    assert layer.output_shape((7,)) == (7,)
    assert not layer.tensors((7,))
    assert layer.multiply_adds((7,)) == 0


def test_adaptive_pooling_gives_a_square():
    assert AdaptiveAvgPool2d().output_shape((6, 7, 9)) == (6, 1, 1)
    assert AdaptiveAvgPool2d(output_size=4).output_shape((6, 7, 9)) == (6, 4, 4)


def test_bounds_are_one_over_the_root_of_the_inputs():
    conv = Conv2d(out_channels=8, kernel_size=5).tensors((3, 32, 32))
    assert conv["weight"].bound == conv["bias"].bound == 1 / math.sqrt(75)
    linear = Linear(out_features=8).tensors((50,))
    assert linear["weight"].bound == linear["bias"].bound == 1 / math.sqrt(50)
    assert "bias" not in Linear(out_features=8, bias=False).tensors((50,))


@pytest.mark.parametrize(
    "layer",
    [Conv2d(out_channels=1, kernel_size=1), MaxPool2d(kernel_size=1), BatchNorm2d(), AdaptiveAvgPool2d()],
)
@pytest.mark.parametrize("shape", [(4,), (4, 4), (1, 2, 3, 4)])
def test_what_takes_an_image_refuses_the_rest(layer, shape):
    with pytest.raises(ShapeError, match=rf"takes an image .* not {format_shape(shape)}"):
        layer.output_shape(shape)


def test_a_linear_layer_takes_a_vector():
    with pytest.raises(ShapeError, match="not 2x3: put a flatten before it"):
        Linear(out_features=1).output_shape((2, 3))


REFUSED = {
    "zero channels": (Conv2d, {"out_channels": 0, "kernel_size": 3}),
    "a float for a count": (Conv2d, {"out_channels": 8.0, "kernel_size": 3}),
    "text for a count": (Linear, {"out_features": "8"}),
    "true for a count": (Linear, {"out_features": True}),
    "negative padding": (Conv2d, {"out_channels": 8, "kernel_size": 3, "padding": -1}),
    "no stride": (MaxPool2d, {"kernel_size": 2, "stride": 0}),
    "a missing argument": (Conv2d, {"out_channels": 8}),
    "an unknown argument": (Linear, {"out_features": 8, "init": "zeros"}),
    "dropping all": (Dropout, {"p": 1.0}),
    "dropping less than none": (Dropout, {"p": -0.1}),
    "no number": (Dropout, {"p": math.nan}),
    "eps of 0": (BatchNorm2d, {"eps": 0.0}),
    "momentum above 1": (BatchNorm2d, {"momentum": 1.1}),
    "a name with a space": (ReLU, {"name": "a b"}),
    "a name that ends in a dot": (ReLU, {"name": "a."}),
    "another op": (ReLU, {"op": "gelu"}),
    "negative lr": (SGD, {"lr": -0.1}),
    "infinite lr": (Adam, {"lr": math.inf}),
    "nesterov without momentum": (SGD, {"nesterov": True}),
    "nesterov with dampening": (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    "a beta of 1": (Adam, {"betas": (0.9, 1.0)}),
    "one beta": (Adam, {"betas": (0.9,)}),
    "Adam's eps of 0": (Adam, {"eps": 0.0}),
    "Adam with momentum": (Adam, {"momentum": 0.9}),
    "a crop of nothing": (RandomCrop, {"size": 0}),
    "a flip above 1": (RandomHorizontalFlip, {"p": 1.5}),
}


@pytest.mark.parametrize(("kind", "arguments"), REFUSED.values(), ids=REFUSED.keys())
def test_an_argument_that_makes_no_sense_is_refused(kind, arguments):
    with pytest.raises(ValidationError):
        kind(**arguments)


def test_an_argument_by_place_is_refused():
    with pytest.raises((TypeError, ValidationError)):
        Linear(8)


def test_optimizers_say_which_state_they_keep():
    assert SGD().buffers == ()
    assert SGD(momentum=0.9).buffers == ("momentum_buffer",)
    assert Adam().buffers == ("exp_avg", "exp_avg_sq")
