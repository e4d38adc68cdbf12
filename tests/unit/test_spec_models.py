"""Whole models: published counts, names, and what is refused with the layer's name."""

import math

import pytest

from xtrain import models
from xtrain.errors import RecipeError, UsageError
from xtrain.models import build
from xtrain.spec import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ModelSpec, ReLU, Residual, StepInput
from xtrain.spec.tensors import ShapeError

CIFAR, MNIST = (3, 32, 32), (1, 28, 28)
DEEP = [512, 1024, 512, 128]
# Sums by hand of in * out + out; those of lenet, simplecnn and the first mlp are published.
PUBLISHED = {
    "lenet": (build("lenet", CIFAR, 10), 62_006, None),
    "simplecnn": (build("simplecnn", CIFAR, 10), 315_722, None),
    "mlp": (build("mlp", MNIST, 10), 669_706, 669_706),
    "mlp deep": (build("mlp", MNIST, 10, hidden=DEEP), 401_920 + 525_312 + 524_800 + 65_664 + 1_290, None),
    "logistic regression": (build("mlp", MNIST, 10, hidden=[]), 7_850, 7_850),
}


@pytest.mark.parametrize(("model", "parameters", "multiply_adds"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_counts_are_the_published_ones(model, parameters, multiply_adds):
    assert model.parameters == parameters
    assert model.output_shape == (10,)
    if multiply_adds:
        assert model.multiply_adds == multiply_adds


def test_multiply_adds_count_each_parameter_at_each_position():
    # LeNet on 32x32: 456 parameters at 28x28, 2,416 at 10x10, then three linear layers once.
    assert PUBLISHED["lenet"][0].multiply_adds == 456 * 784 + 2_416 * 100 + 48_120 + 10_164 + 850
    # simplecnn: 896 at 30x30, 18,496 at 13x13, 2304 -> 128 -> 10.
    assert PUBLISHED["simplecnn"][0].multiply_adds == 896 * 900 + 18_496 * 169 + 295_040 + 1_290


def test_names_and_shapes_of_lenet_are_those_of_the_tutorial():
    model = build("lenet", CIFAR, 10)
    assert {name: tensor.shape for name, tensor in model.tensors.items()} == {
        "conv1.weight": (6, 3, 5, 5),
        "conv1.bias": (6,),
        "conv2.weight": (16, 6, 5, 5),
        "conv2.bias": (16,),
        "fc1.weight": (120, 400),
        "fc1.bias": (120,),
        "fc2.weight": (84, 120),
        "fc2.bias": (84,),
        "fc3.weight": (10, 84),
        "fc3.bias": (10,),
    }
    paths = " ".join(node.path for node in model.walk())
    assert paths == "conv1 relu1 pool1 conv2 relu2 pool2 flatten1 fc1 relu3 fc2 relu4 fc3"
    assert [node.output_shape for node in model.nodes][:6] == [
        (6, 28, 28),
        (6, 28, 28),
        (6, 14, 14),
        (16, 10, 10),
        (16, 10, 10),
        (16, 5, 5),
    ]
    assert model.trainable == tuple(model.tensors)


def test_dropout_comes_after_each_hidden_relu_and_costs_nothing():
    plain, dropping = (build("lenet", CIFAR, 10, dropout=p) for p in (0.0, 0.25))
    assert (plain.dropouts, dropping.dropouts) == ((), ("dropout1", "dropout2"))
    assert dropping.tensors == plain.tensors
    assert dropping.multiply_adds == plain.multiply_adds
    paths = " ".join(node.path for node in dropping.walk())
    assert paths.endswith("flatten1 fc1 relu3 dropout1 fc2 relu4 dropout2 fc3")


def basic_block(channels, stride=1):
    """The block of a small ResNet, with torchvision's names."""

    def conv(name, size, stride):
        return Conv2d(
            name=name,
            out_channels=channels,
            kernel_size=size,
            stride=stride,
            padding=size // 2,
            bias=False,
        )

    body = (
        conv("conv1", 3, stride),
        BatchNorm2d(name="bn1"),
        ReLU(),
        conv("conv2", 3, 1),
        BatchNorm2d(name="bn2"),
    )
    shortcut = (conv("downsample.0", 1, stride), BatchNorm2d(name="downsample.1")) if stride > 1 else ()
    return Residual(name=f"layer{stride}.0", body=body, shortcut=shortcut)


def test_a_residual_has_the_names_and_counts_of_torchvision():
    model = ModelSpec("m", (64, 8, 8), (basic_block(64), basic_block(128, stride=2)))
    assert model.output_shape == (128, 4, 4)
    assert model.tensors["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert model.tensors["layer2.0.bn1.running_var"].fill == 1.0
    # resnet18's layer1.0 and layer2.0.
    assert model.parameters == 73_984 + 230_144
    assert "layer1.0.bn1.running_mean" in model.tensors
    assert "layer1.0.bn1.running_mean" not in model.trainable
    assert [node.path for node in model.walk()][:7] == [
        *(f"layer1.0.{name}" for name in ("conv1", "bn1", "relu1", "conv2", "bn2")),
        "layer1.0",
        "layer2.0.conv1",
    ]


def test_sizes_of_all_tensors_add_up():
    model = ModelSpec("m", (64, 8, 8), (basic_block(64),))
    trained = sum(math.prod(model.tensors[name].shape) for name in model.trainable)
    assert model.parameters == trained
    assert trained + 4 * 64 == sum(tensor.size for tensor in model.tensors.values())


CONV = Conv2d(out_channels=4, kernel_size=3, padding=1)
REFUSED = {
    "no layers": ((), "a model needs at least one layer"),
    "image to linear": (
        (Linear(out_features=3),),
        "layer fc1, given 3x8x8: takes a vector, not 3x8x8: put a",
    ),
    "vector to convolution": ((Flatten(), CONV), r"layer conv1, given 192: takes an image \(.*\), not 192"),
    "window too large": (
        (CONV, Conv2d(name="big", out_channels=1, kernel_size=9)),
        "layer big, given 4x8x8: a window of 9 does not fit into 8 pixels with padding 0",
    ),
    "two of one name": ((ReLU(name="a"), CONV, Flatten(name="a")), "two layers are called a"),
    "a given name that a number makes too": ((ReLU(name="relu2"), ReLU()), "two layers are called relu2"),
    "residual of two shapes": (
        (Residual(name="block", body=(Conv2d(out_channels=5, kernel_size=1),)),),
        "layer block: the body gives 5x8x8, the shortcut 3x8x8",
    ),
    "residual that shrinks": (
        (Residual(body=(Conv2d(out_channels=3, kernel_size=3),)),),
        "layer block1: the body gives 3x6x6, the shortcut 3x8x8",
    ),
    "residual with a layer that does not fit": (
        (Residual(body=(CONV, Linear(out_features=3))),),
        "layer block1.fc1, given 4x8x8: takes a vector",
    ),
    "body and shortcut of one name": (
        (Residual(body=(CONV,), shortcut=(CONV,)),),
        "layer block1: body and shortcut share a layer name",
    ),
    "a name inside a residual": (
        (Residual(name="a", body=(ReLU(name="b"),)), ReLU(name="a.b")),
        "layer a.b has a name inside layer a; rename one",
    ),
    "a name inside a layer": (
        (ReLU(name="a.b.c"), ReLU(name="a.b")),
        "layer a.b.c has a name inside layer a.b",
    ),
    "a name inside a part": (
        (Residual(name="r", body=(ReLU(name="a"), ReLU(name="a.b"))),),
        r"layer r.a.b has a name inside layer r\.a",
    ),
}


@pytest.mark.parametrize(("layers", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_names_the_layer(layers, message):
    with pytest.raises(ShapeError, match=message):
        ModelSpec("m", (3, 8, 8), layers)


@pytest.mark.parametrize("shape", [(), (0, 8, 8), (3, -1, 8)])
def test_an_input_that_holds_nothing_is_refused(shape):
    with pytest.raises(ShapeError, match="holds nothing"):
        ModelSpec("m", shape, (Flatten(), Linear(out_features=2)))


def test_a_dot_in_a_name_is_a_container_and_no_layer():
    model = ModelSpec("m", (3, 8, 8), (ReLU(name="a.b"), ReLU(name="a.c"), ReLU(name="ab")))
    assert [node.path for node in model.walk()] == ["a.b", "a.c", "ab"]


def test_an_unknown_family_gets_the_nearest_one():
    with pytest.raises(UsageError, match=r"unknown model 'lenett'\n.*did you mean 'lenet'\? allowed: mlp"):
        build("lenett", CIFAR, 10)


BAD_OPTIONS = {
    "unknown": ("mlp", {"hiden": [3]}, r"model mlp: hiden = \[3\]: unknown key; did you mean 'hidden'"),
    "wrong type": ("mlp", {"hidden": "512"}, "model mlp: hidden = '512': should be a valid array"),
    "out of range": ("lenet", {"dropout": 1.0}, "model lenet: dropout = 1.0: should be less than 1"),
    "too small an image": ("lenet", {}, "model lenet: layer conv2, given 6x2x2: a window of 5"),
    "no logits": (
        "custom",
        {"layers": [{"op": "relu"}]},
        "the last layer gives 1x8x8, the data has 10 classes",
    ),
    "no layers": ("custom", {}, "a model needs at least one layer"),
}


@pytest.mark.parametrize(("name", "options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        build(name, (1, 8, 8), 10, **options)


def test_every_family_is_listed_under_each_of_its_names():
    assert len(models.MODELS.own) == 20
    for name, family in models.MODELS.own.items():
        if name == "custom":
            continue
        assert build(name, CIFAR, 10).name == family(name=name).name == name
        assert family.__doc__


def test_noise_is_the_first_row_of_the_batch_and_a_key_for_each_dropout():
    inner = Residual(name="block", body=(Dropout(name="inner"),))
    model = ModelSpec("m", (1, 2, 2), (inner, Flatten(), Dropout(name="outer"), Linear(out_features=2)))
    step = StepInput(3, 0.1, dropout_keys=(71, 72), first_rows=(0, 8, 16))
    assert [model.noise(step, batch) for batch in range(3)] == [(0, 71, 72), (8, 71, 72), (16, 71, 72)]
    assert model.noise(step) == (0, 71, 72)
    keys = {node.path: model.noise(step)[1 + node.dropout] for node in model.walk() if node.dropout >= 0}
    assert keys == {"block.inner": 71, "outer": 72}
    without = ModelSpec("m", (1, 2, 2), (Flatten(), Linear(out_features=2)))
    assert without.noise(StepInput(1, 0.1)) == (0,)


@pytest.mark.parametrize(("dropouts", "keys"), [(1, ()), (2, (7,)), (1, (7, 8)), (0, (7,))])
def test_a_step_without_a_key_for_each_dropout_is_refused(dropouts, keys):
    layers = (Flatten(), *[Dropout()] * dropouts, Linear(out_features=2))
    model = ModelSpec("net", (1, 2, 2), layers)
    said = f"step 4 has {len(keys)} dropout keys, model net has {dropouts} dropout layers"
    with pytest.raises(ValueError, match=said):
        model.noise(StepInput(4, 0.1, dropout_keys=keys))


def test_specs_can_not_be_changed():
    with pytest.raises(AttributeError):
        Dropout().p = 0.1
    with pytest.raises(AttributeError):
        build("lenet", CIFAR, 10).layers = ()
