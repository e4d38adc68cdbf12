"""Recipes that can't be run: the error names the file, the key, the value and what is allowed."""

import contextlib
import copy
import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_values import SMALL, recipe_values

from xtrain.errors import RecipeError, UsageError
from xtrain.recipe import load_recipe, parse

TOP = "name, seed, data, model, init_from, loss, optimizer, schedule, stopping, loop"
OPS = "conv2d, linear, batch_norm2d, relu, max_pool2d"
NORM = [{"op": "conv2d", "out_channels": 2, "kernel_size": 8}, {"op": "batch_norm2d"}, {"op": "flatten"}]

# Keys with their values, and what the error says of them.
CASES = {
    "unknown section": ({"lop.epochs": 1}, ["lop = {'epochs': 1}", "unknown key", "'loop'", TOP]),
    "unknown key at the top": ({"sed": 1}, ["sed = 1", "did you mean 'seed'", TOP]),
    "in data": ({"data.batchsize": 8}, ["data.batchsize = 8", "'batch_size'", "eval_batch_size, augment"]),
    "in normalize": (
        {"data.normalize": {"mean": [0.1], "sdt": [1]}},
        [
            "data.normalize.sdt = [1]",
            "did you mean 'std'? allowed: mean, std",
            "data.normalize.std: is missing",
        ],
    ),
    "in an augmentation": (
        {"data.augment": [{"op": "random_crop", "size": 8, "paddng": 1}]},
        ["data.augment[0].paddng = 1", "did you mean 'padding'? allowed: op, size, padding"],
    ),
    "in a model": (
        {"model.hiden": [8]},
        ["model.hiden = [8]", "did you mean 'hidden'? allowed: name, hidden,"],
    ),
    "in a model of several names": (
        {"data.name": "cifar10", "model": {"name": "vgg16", "dropuot": 0.1}},
        ["model.dropuot = 0.1", "did you mean 'dropout'? allowed: name, head, dropout"],
    ),
    "another head": (
        {"data.name": "cifar10", "model": {"name": "vgg16_bn", "head": "mnist"}},
        ["model.head = 'mnist': should be 'imagenet' or 'cifar'"],
    ),
    "a depth of no whole blocks": (
        {"data.name": "cifar10", "model": {"name": "wide_resnet", "depth": 27}},
        ["model.depth = 27: must be 6n+4, such as 16"],
    ),
    "in a layer": (
        {"model": {"layers": [{"op": "relu"}, {"op": "conv2d", "kernelsize": 3}]}},
        ["model.layers[1].kernelsize = 3", "'kernel_size'", "model.layers[1].out_channels: is missing"],
    ),
    "in a layer of a residual": (
        {"model": {"layers": [{"op": "residual", "body": [{"op": "linear", "out_feature": 3}]}]}},
        ["model.layers[0].body[0].out_feature = 3", "'out_features'? allowed: name, op, out_features, bias"],
    ),
    "in the loss": (
        {"loss": {"name": "cross_entropy", "smoothing": 0.1}},
        ["loss.smoothing = 0.1", "unknown key", "did you mean 'label_smoothing'? allowed: name, reduction"],
    ),
    "a loss without a name": ({"loss": {"reduction": "sum"}}, ["loss: name is missing"]),
    "in the optimizer": (
        {"optimizer.momentun": 0.9},
        ["optimizer.momentun = 0.9", "'momentum'? allowed: name, lr, weight_decay"],
    ),
    "of the other optimizer": (
        {"optimizer": {"name": "adam", "momentum": 0.9}},
        [
            "optimizer.momentum = 0.9",
            "unknown key",
            "allowed: name, lr, weight_decay",
            "clip_norm, ema, betas, eps",
        ],
    ),
    "in the schedule": (
        {"schedule.name": "multistep", "schedule.gama": 0.1},
        [
            "schedule.gama = 0.1",
            "'gamma'? allowed: name, by, warmup, milestones",
            "schedule.milestones: is missing",
        ],
    ),
    "in the loop": (
        {"loop.epoch": 3},
        ["loop.epoch = 3", "'epochs'? allowed: epochs, accumulate, log_every, checkpoint_every"],
    ),
    "unknown optimizer": (
        {"optimizer.name": "sgdm"},
        ["optimizer.name = 'sgdm'", "'sgd'? allowed: sgd, adam"],
    ),
    "unknown model": (
        {"model.name": "simplecn"},
        ["model.name = 'simplecn'", "'simplecnn'? allowed: mlp, lenet,"],
    ),
    "unknown data set": (
        {"data.name": "mnits"},
        ["data.name = 'mnits'", "'mnist'? allowed: digits, mnist"],
    ),
    "unknown loss": ({"loss.name": "mae"}, ["loss.name = 'mae'", "allowed: cross_entropy, nll, mse"]),
    "unknown schedule": (
        {"schedule.name": "cosin"},
        ["schedule.name = 'cosin'", "did you mean 'cosine'? allowed: constant, multistep, step"],
    ),
    "a validation figure without such a split": (
        {"stopping": {"monitor": "val_loss"}},
        ["stopping.monitor = 'val_loss'", "set data.validation", "or watch test_loss"],
    ),
    "class weights of another number": (
        {"loss": {"name": "cross_entropy", "class_weights": [1.0, 2.0]}},
        ["loss.class_weights has 2 values, the data has 10 classes"],
    ),
    "class weights of nothing": (
        {"loss": {"name": "cross_entropy", "class_weights": [0.0] * 10}},
        ["loss.class_weights: one has to be above 0"],
    ),
    "nll over logits": ({"loss": {"name": "nll"}}, ["loss.name = 'nll'", "log_softmax", "cross_entropy"]),
    "a cycled momentum that is not there": (
        {"schedule": {"name": "one_cycle"}},
        ["schedule.cycle_momentum = true", "sgd has no momentum", "optimizer.momentum"],
    ),
    "a warm-up of nothing": (
        {"schedule": {"name": "constant", "warmup": {"length": 0}}},
        ["schedule.warmup.length = 0", 'give a number of steps, or "N epochs"'],
    ),
    "unknown layer": (
        {"model": {"layers": [{"op": "conv"}]}},
        ["model.layers[0].op = 'conv'", "'conv2d'", OPS],
    ),
    "unknown augmentation": (
        {"data.augment": [{"op": "crop"}]},
        ["data.augment[0].op = 'crop'", "random_crop, "],
    ),
    "a layer without op": ({"model": {"layers": [{"p": 1}]}}, ["model.layers[0]: op is missing"]),
    "an optimizer without name": ({"optimizer": {}}, ["optimizer: name is missing"]),
    "text for a number": ({"optimizer.lr": "fast"}, ["optimizer.lr = 'fast'", "number"]),
    "a number in quotes": ({"optimizer.lr": "0.1"}, ["optimizer.lr = '0.1'", "number"]),
    "a float for a count": ({"data.batch_size": 64.0}, ["data.batch_size = 64.0", "integer"]),
    "true for a count": ({"loop.epochs": True}, ["loop.epochs = True", "integer"]),
    "a number for a switch": ({"data.drop_last": 1}, ["data.drop_last = 1", "boolean"]),
    "a number for a name": ({"name": 3}, ["name = 3", "string"]),
    "a date for a name": ({"name": datetime.date(2026, 1, 1)}, ["name = {'date': '2026-01-01'}", "string"]),
    "a number for a list": ({"model.hidden": 512}, ["model.hidden = 512", "array"]),
    "text in a list": ({"model.hidden": [8, "8"]}, ["model.hidden[1] = '8'", "integer"]),
    "a value for a section": ({"data": 3}, ["data = 3", "object"]),
    "a list for a section": ({"optimizer": ["sgd"]}, ["optimizer = ['sgd']", 'a table with name = "..."']),
    "a value for a layer": (
        {"model": {"layers": ["relu"]}},
        ["model.layers[0] = 'relu'", 'a table with op = "..."'],
    ),
    "three betas": (
        {"optimizer": {"name": "adam", "betas": [0.1, 0.2, 0.3]}},
        ["optimizer.betas =", "at most 2"],
    ),
    "no epoch": ({"loop.epochs": 0}, ["loop.epochs = 0", "greater than or equal to 1"]),
    "a negative seed": ({"seed": -1}, ["seed = -1", "greater than or equal to 0"]),
    "a huge seed": ({"seed": 2**63}, ["seed = 9223372036854775808", "less than 9223372036854775808"]),
    "an infinite lr": ({"optimizer.lr": float("inf")}, ["optimizer.lr = inf", "finite"]),
    "no number": ({"optimizer.lr": float("nan")}, ["optimizer.lr = nan", "finite"]),
    "dropping all": ({"model.dropout": 1.0}, ["model.dropout = 1.0", "less than 1"]),
    "a std of 0": (
        {"data.normalize": {"mean": [0.5], "std": [0]}},
        ["data.normalize.std[0] = 0", "equal to 0.000000000001"],
    ),
    "nesterov alone": ({"optimizer.nesterov": True}, ["optimizer = {", "nesterov needs a momentum above 0"]),
    "a path for a name": ({"name": "../x"}, ["name = '../x'", r"pattern '^[\w.-]+$'"]),
    "no unit": ({"loop.checkpoint_every": "5"}, ["loop.checkpoint_every = '5'", 'steps, or "N epochs"']),
    "no checkpoint": ({"loop.checkpoint_every": 0}, ["loop.checkpoint_every = 0", 'steps, or "N epochs"']),
    "neither steps nor epochs": (
        {"loop.checkpoint_every": 1.5},
        ["loop.checkpoint_every = 1.5: should be a valid integer, or should be a valid string"],
    ),
    "means of other channels": (
        {"data.normalize": {"mean": [0.5] * 3, "std": [0.5]}},
        ["data.normalize.mean = [0.5, 0.5, 0.5]", "digits has 1 channel"],
    ),
    "stds of other channels": (
        {"data.normalize": {"mean": [0.5], "std": [0.5, 1.0]}},
        ["data.normalize.std = [0.5, 1.0]", "digits has 1 channel"],
    ),
    "a crop of another size": (
        {"data.augment": [{"op": "random_horizontal_flip"}, {"op": "random_crop", "size": 32}]},
        ["data.augment[1].size = 32", "must be 8"],
    ),
    "an image too small": (
        {"model": {"name": "lenet"}},
        ["model.name = 'lenet'", "layer conv2, given 6x2x2"],
    ),
    "other logits": (
        {"model": {"layers": [{"op": "flatten"}, {"op": "linear", "out_features": 9}]}},
        ["model.name = 'custom'", "the last layer gives 9, the data has 10 classes"],
    ),
    "no batch left": (
        {"data.batch_size": 1438, "data.drop_last": True},
        ["data.batch_size = 1438", "1437 samples"],
    ),
    "a batch without variance": (
        {"data.batch_size": 4, "model": {"layers": [*NORM, {"op": "linear", "out_features": 10}]}},
        ["data.batch_size = 4", "layer bn1 would see a batch with one value per channel"],
    ),
    "a key below a value": ({"seed.x": 1}, ["seed.x", "seed is a value, not a section"]),
    "several at once": ({"seed": -1, "loop.epochs": 0}, ["seed = -1", "loop.epochs = 0"]),
}
SET_THROUGH = {**SMALL, "seed": 0}


@pytest.mark.parametrize(("overrides", "said"), CASES.values(), ids=CASES.keys())
def test_the_error_says_what_and_where(overrides, said):
    with pytest.raises(RecipeError) as caught:
        parse(SET_THROUGH, "some/file.toml", overrides).bind(where="some/file.toml")
    text = str(caught.value)
    assert text.startswith("some/file.toml: ")
    assert [part for part in said if part not in text] == [], text


@pytest.mark.parametrize("section", ["name", "data", "model", "optimizer", "loop"])
def test_a_section_that_is_missing_is_named(section):
    values = {key: value for key, value in SMALL.items() if key != section}
    with pytest.raises(RecipeError, match=f"^F: {section}: is missing$"):
        parse(values, "F")


FILES = {
    "bad TOML": (b'name = "a"\nseed = = 1\n', r"is not TOML: .*line 2"),
    "a key twice": (b"seed = 1\nseed = 2\n", "is not TOML: .*line 2"),
    "not UTF-8": (b'name = "\xff"\n', "is not TOML: 'utf-8' codec can't decode"),
    "a byte order mark": (b"\xef\xbb\xbfname = 'a'\n", "is not TOML"),
    "a number of many digits": (b"seed = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
    "deep nesting": (b"seed = " + b"[" * 3000 + b"]" * 3000, "is not TOML: .*recursion"),
    "less deep nesting": (b"seed = " + b"[" * 250 + b"]" * 250, "can't be read: recursion limit"),
    "empty": (b"", "data: is missing"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_recipe_is_named(content, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 2000


def test_values_nested_without_end_are_refused():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(RecipeError, match="F: is nested too deeply"):
        parse(SMALL, "F", {"seed": nested})


PLACES = {
    "missing": (
        "recipes/digits_mpl.toml",
        r"there is no such recipe\n.*did you mean 'digits_mlp'\? allowed: cifar",
    ),
    "a misspelt name": ("mnist_mpl", r"there is no such recipe\n.*did you mean 'mnist_mlp'"),
    "nothing near": ("zzz", "a shipped recipe: allowed: cifar100_vgg16, cifar10_lenet"),
    "a directory": (".", "is a directory, not a recipe"),
    "below a file": ("file/x.toml", "there is no such recipe"),
    "a name too long": ("x" * 5000, "there is no such recipe"),
    "a NUL in the name": ("a\0b", "there is no such recipe"),
    "no name": ("", "is a directory"),
}


@pytest.mark.parametrize(("source", "message"), PLACES.values(), ids=PLACES.keys())
def test_a_recipe_that_is_not_there_gets_the_nearest_one(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message) as caught:
        load_recipe(source)
    assert str(caught.value).startswith(f"{source}: ")


scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.sampled_from(["sgd", "adam", "mlp", "custom", "digits", "relu", "1 epoch", 2**64, -0.0]),
)
keys = st.text(max_size=4) | st.sampled_from(
    ["name", "op", "lr", "layers", "hidden", "body", "shortcut", "size", "mean", "std", "epochs"]
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def paths(values, prefix=()):
    """Where something stands in nested values."""
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in pairs:
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*prefix, key))


@settings(max_examples=300)
@given(values=recipe_values(), choice=st.data())
def test_junk_anywhere_is_a_recipe_or_an_error(values, choice):
    values = copy.deepcopy(values)
    *parents, last = choice.draw(st.sampled_from(list(paths(values))))
    place = values
    for key in parents:
        place = place[key]
    place[last] = choice.draw(junk)
    with contextlib.suppress(RecipeError):
        parse(values, "F").bind(where="F")


@given(
    values=st.dictionaries(keys, junk, max_size=4),
    overrides=st.dictionaries(st.text(max_size=6), junk, max_size=3),
)
def test_junk_alone_is_an_error(values, overrides):
    with pytest.raises(RecipeError, match=r"^F: "):
        parse(values, "F", overrides)


@given(text=st.text(max_size=60))
def test_any_text_is_an_error(text, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "junk.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError):
        load_recipe(path)
