"""The families with published figures: parameters, layouts, options, and how a recipe names them."""

import copy

import pytest
from recipe_values import SMALL

from xtrain import plan
from xtrain.errors import RecipeError
from xtrain.models import build
from xtrain.recipe import parse
from xtrain.spec import Dropout

IMAGENET, CIFAR, SVHN, MNIST = (3, 224, 224), (3, 32, 32), (3, 28, 28), (1, 28, 28)
VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]

# torchvision's documentation, for 1000 classes.
TORCHVISION = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
}


@pytest.mark.parametrize(("name", "parameters"), TORCHVISION.items(), ids=TORCHVISION)
def test_counts_are_those_of_torchvisions_documentation(name, parameters):
    assert build(name, IMAGENET, 1000).parameters == parameters


@pytest.mark.parametrize("name", VGGS)
def test_the_cifar_head_changes_the_first_linear_layer_and_the_classes(name):
    linear = (25_088 - 512) * 4096 + (1000 - 100) * (4096 + 1)
    model = build(name, CIFAR, 100, head="cifar")
    assert model.parameters == TORCHVISION[name] - linear
    assert model.tensors["classifier.0.weight"].shape == (4096, 512)
    with_pool = build(name, CIFAR, 100)
    assert [n.path for n in with_pool.nodes if n not in model.nodes][:2] == ["avgpool", "flatten"]


# In millions; the table of weiaicunzai/pytorch-cifar100 (100 classes), which has 39.0 for vgg19_bn's 39.3.
TUTORIAL = {
    "resnet18": ({"stem": "cifar"}, 11.2),
    "resnet34": ({"stem": "cifar"}, 21.3),
    "resnet50": ({"stem": "cifar"}, 23.7),
    "vgg11_bn": ({"head": "cifar"}, 28.5),
    "vgg13_bn": ({"head": "cifar"}, 28.7),
    "vgg16_bn": ({"head": "cifar"}, 34.0),
}


@pytest.mark.parametrize(
    ("name", "options", "millions"), [(k, *v) for k, v in TUTORIAL.items()], ids=TUTORIAL
)
def test_counts_are_those_of_the_tutorial(name, options, millions):
    assert round(build(name, CIFAR, 100, **options).parameters / 1e6, 1) == millions


# In millions; tables 4 and 5 of Zagoruyko & Komodakis, 2016 (10 classes).
WIDE = {
    (40, 1): 0.6,
    (40, 2): 2.2,
    (40, 4): 8.9,
    (40, 8): 35.7,
    (28, 10): 36.5,
    (28, 12): 52.5,
    (22, 8): 17.2,
    (22, 10): 26.8,
    (16, 8): 11.0,
    (16, 10): 17.1,
}


@pytest.mark.parametrize(("depth", "width", "millions"), [(*k, v) for k, v in WIDE.items()])
def test_counts_are_those_of_the_paper(depth, width, millions):
    model = build("wide_resnet", CIFAR, 10, depth=depth, width=width)
    assert round(model.parameters / 1e6, 1) == millions
    assert (
        sum(node.path.endswith("conv1") or node.path.endswith("conv2") for node in model.walk()) == depth - 3
    )


def test_the_default_wide_resnet_is_28_10():
    model = build("wide_resnet", CIFAR, 10)
    assert model.parameters == 36_479_194
    sizes = {node.path: node.output_shape for node in model.nodes}
    assert [sizes[f"layer{number}.3"] for number in (1, 2, 3)] == [(160, 32, 32), (320, 16, 16), (640, 8, 8)]


def test_a_wide_block_drops_between_its_convolutions():
    model = build("wide_resnet", CIFAR, 10, depth=10, width=2, dropout=0.3)
    assert model.dropouts == ("layer1.0.dropout", "layer2.0.dropout", "layer3.0.dropout")
    paths = " ".join(node.path.removeprefix("layer1.") for node in model.walk() if "layer1" in node.path)
    assert paths == "bn relu 0.conv1 0.bn2 0.relu2 0.dropout 0.conv2 0.shortcut 0"
    thin = build("wide_resnet", CIFAR, 10, depth=10, width=1)
    paths = " ".join(node.path.removeprefix("layer1.") for node in thin.walk() if "layer1" in node.path)
    assert paths == "0.bn1 0.relu1 0.conv1 0.bn2 0.relu2 0.conv2 0"


# Parameters as published; multiply-adds of ten images, published as 2.07 G and 1.45 G. svhn_resnet2 by hand:
# layer4 has 8,393,728 and fc 512 * 10 + 10.
SVHN_NETS = {
    "svhn_resnet": (2_629_706, 2_068_821_860, 2.07),
    "svhn_vgg": (42_924_234, 1_452_016_740, 1.45),
    "svhn_resnet2": (2_629_706 - 2_570 + 8_393_728 + 5_130, 3_411_075_940, 3.41),
}


@pytest.mark.parametrize(("name", "parameters", "adds", "giga"), [(k, *v) for k, v in SVHN_NETS.items()])
def test_counts_of_the_svhn_nets(name, parameters, adds, giga):
    model = build(name, SVHN, 10)
    assert model.parameters == parameters
    assert 10 * model.multiply_adds == adds
    assert round(adds / 1e9, 2) == giga
    assert model.parameter_memory == 4 * parameters


def test_activation_memory_is_of_layers_with_parameters():
    # 8 bytes for each output: convolution and norm of the stem, fc; svhn_vgg has no norms to add.
    model = build("svhn_vgg", SVHN, 10)
    outputs = 2 * 64 * 28 * 28 + 3 * 128 * 14 * 14 + 2 * 4096 + 10
    assert model.activation_memory == 8 * outputs
    resnet = {node.path: node.activation_memory for node in build("svhn_resnet", SVHN, 10).walk()}
    assert (resnet["conv1"], resnet["bn1"], resnet["fc"]) == (8 * 64 * 28 * 28, 8 * 64 * 28 * 28, 80)
    assert resnet["relu"] == resnet["layer2.0"] == resnet["avgpool"] == 0


def test_the_lstm_reads_an_image_by_rows():
    model = build("lstm", MNIST, 10)
    # Gates of 4 * 128 from 28 and 128 inputs, from 128 and 128, two biases each; then 128 -> 10.
    assert model.parameters == 512 * (28 + 128 + 2) + 512 * (128 + 128 + 2) + 1_290
    assert [(node.path, node.output_shape) for node in model.nodes] == [
        ("rows", (28, 28)),
        ("lstm", (28, 128)),
        ("last", (128,)),
        ("fc", (10,)),
    ]
    assert build("lstm", CIFAR, 10, hidden_size=64, num_layers=1).tensors["lstm.weight_ih_l0"].shape == (
        256,
        96,
    )


def test_a_vggs_dropout_of_0_is_left_out_and_the_numbers_stay():
    plain, dropping = build("vgg11", CIFAR, 10, dropout=0.0), build("vgg11", CIFAR, 10)
    assert (plain.dropouts, dropping.dropouts) == ((), ("classifier.2", "classifier.5"))
    assert plain.tensors == dropping.tensors
    assert [n.layer.p for n in dropping.nodes if isinstance(n.layer, Dropout)] == [0.5, 0.5]
    paths = " ".join(node.path.removeprefix("classifier.") for node in plain.nodes if "class" in node.path)
    assert paths == "0 1 3 4 6"


def test_resnets_halve_the_side_where_torchvisions_do():
    sides = {}
    for name, stem in (("resnet50", "imagenet"), ("resnet50", "cifar"), ("resnet18", "cifar")):
        shapes = {node.path: node.output_shape for node in build(name, CIFAR, 10, stem=stem).walk()}
        sides[name, stem] = [shapes["conv1"], *(shapes[f"layer{number}.1"] for number in (1, 2, 3, 4))]
        assert ("maxpool" in shapes) == (stem == "imagenet")
    deep = [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]
    assert sides["resnet50", "cifar"] == [(64, 32, 32), *deep]
    assert sides["resnet50", "imagenet"] == [(64, 16, 16), *((c, h // 4, w // 4) for c, h, w in deep)]
    assert sides["resnet18", "cifar"] == [(64, 32, 32), *((c // 4, h, w) for c, h, w in deep)]


def test_initial_weights_exist_for_the_norms_and_the_normal_ones():
    model = build("svhn_resnet2", SVHN, 10)
    state = plan.initial_state(0, model)
    kernel = state["layer4.1.conv2.weight"]
    assert abs(kernel.std() / (2 / (512 * 9)) ** 0.5 - 1) < 0.01
    assert abs(kernel.mean()) < 1e-4
    assert set(state["layer4.1.bn2.weight"]) == {1.0}


REFUSED = {
    "an image without a pixel left": ("vgg11", MNIST, {"head": "cifar"}, "layer features.20, given 512x1x1"),
    "a depth of no whole blocks": (
        "wide_resnet",
        CIFAR,
        {"depth": 27},
        "depth = 27: must be 6n.4, such as 16",
    ),
    "a depth of no block": ("wide_resnet", CIFAR, {"depth": 4}, "depth = 4: must be 6n.4"),
    "an unknown stem": (
        "resnet18",
        CIFAR,
        {"stem": "small"},
        "stem = 'small': should be 'imagenet' or 'cifar'",
    ),
    "a key of another family": (
        "resnet18",
        CIFAR,
        {"head": "cifar"},
        "head = 'cifar': unknown key; .*name, stem",
    ),
    "no hidden state": ("lstm", MNIST, {"hidden_size": 0}, "hidden_size = 0: should be greater than"),
}


@pytest.mark.parametrize(("name", "shape", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_options_that_do_not_fit_are_refused(name, shape, options, message):
    with pytest.raises(RecipeError, match=f"model {name}: {message}"):
        build(name, shape, 10, **options)


def recipe(**model):
    values = copy.deepcopy(SMALL)
    values["data"]["name"] = "cifar10"
    return values | {"model": model}


def test_a_recipe_selects_a_family_by_any_of_its_names():
    read = parse(recipe(name="vgg13_bn", head="cifar"), "F")
    assert read.bind(where="F").model == build("vgg13_bn", CIFAR, 10, head="cifar")
    assert parse(read.to_dict(), "again") == read


KEPT = {
    "of the same family": ("vgg16", {"name": "vgg11_bn", "head": "cifar"}, {"head": "cifar"}),
    "of another family": ("resnet18", {"name": "vgg11_bn", "head": "cifar"}, {"stem": "imagenet"}),
    "that both have": ("vgg16", {"name": "mlp", "hidden": [3], "dropout": 0.25}, {"dropout": 0.25}),
}


@pytest.mark.parametrize(("name", "model", "expected"), KEPT.values(), ids=KEPT)
def test_another_name_keeps_the_keys_it_has_too(name, model, expected):
    changed = parse(recipe(**model), "F", {"model.name": name}).model
    assert changed.name == name
    assert {key: getattr(changed, key) for key in expected} == expected
