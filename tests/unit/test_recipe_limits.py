"""How large a training may be: what no machine could hold is refused, with the memory that it would take."""

import time

import pytest
from recipe_values import SMALL, small, small_job

from xtrain import data, plan, plugins
from xtrain.errors import RecipeError, UsageError
from xtrain.parity.record import outcome
from xtrain.recipe import parse
from xtrain.recipe.recipe import SEEDS
from xtrain.spec.base import DEEPEST, LARGEST, LARGEST_SIDE

HEAD = [{"op": "flatten"}, {"op": "linear", "out_features": 10}]
BILLION = 10**9


def layers(*given):
    return {"name": "custom", "layers": [*given, *HEAD]}


def conv(**options):
    return {"op": "conv2d", "out_channels": 1, "kernel_size": 1, **options}


TOO_LARGE = {
    "a hidden layer": (
        {"model.hidden": [BILLION]},
        "model.name = 'mlp': its weights would take 279.4 GiB; the limit is 16 GiB",
    ),
    "two of them": ({"model.hidden": [BILLION] * 2}, "its weights would take 3.469 EiB"),
    "padding that the next layer pays for": (
        {"model": {"name": "simplecnn", "padding": BILLION}},
        "its weights would take 6.395e+04 EiB",
    ),
    "an LSTM": ({"model": {"name": "lstm", "hidden_size": BILLION}}, "its weights would take"),
    "a wide net": ({"model": {"name": "wide_resnet", "width": LARGEST // 64}}, "its weights would take"),
    "channels": (
        {"model": layers(conv(out_channels=10**8), {"op": "adaptive_avg_pool2d"})},
        "layer conv1 for a batch of 256 would take 5.96 TiB; the limit is 64 GiB",
    ),
    "padding that a stride leaves out": (
        {"model": layers(conv(padding=BILLION, stride=LARGEST))},
        "layer conv1 for a batch of 256 would take 3,553 EiB",
    ),
    "a kernel": ({"model": layers(conv(kernel_size=BILLION, padding=BILLION))}, "its weights would take"),
    "windows of a convolution": (
        {"model": layers(conv(kernel_size=1001, padding=1000), {"op": "adaptive_avg_pool2d"})},
        "the windows of layer conv1 for one image would take 3.704 TiB; the limit is 64 GiB",
    ),
    "windows of a pool": (
        {"model": layers({"op": "max_pool2d", "kernel_size": BILLION, "padding": BILLION // 2})},
        "the windows of layer pool1 for one image would take",
    ),
    "cells of a pool": (
        {
            "model": layers(
                {"op": "adaptive_avg_pool2d", "output_size": BILLION}, {"op": "adaptive_avg_pool2d"}
            )
        },
        "layer pool1 for a batch of 256 would take",
    ),
    "a padded image": (
        {"data.augment": [{"op": "random_crop", "size": 8, "padding": LARGEST_SIDE}]},
        "data.augment[0]: a batch of 64 images would take 64.06 GiB; the limit is 64 GiB",
    ),
    "a batch of large images": (
        {
            "data.eval_transform": [{"op": "resize", "size": LARGEST_SIDE}, {"op": "center_crop", "size": 8}],
            "data.eval_batch_size": 300,
        },
        "data.eval_transform[0]: a batch of 300 images would take 75 GiB",
    ),
    "images of a step": (
        {
            "loop.accumulate": LARGEST,
            "data.augment": [{"op": "resize", "size": 4096}],
            "data.eval_transform": [{"op": "resize", "size": 4096}],
            "model": layers({"op": "adaptive_avg_pool2d"}),
            "data.eval_batch_size": 1,
        },
        f"loop.accumulate = {LARGEST}: the images of a step would take 89.81 GiB",
    ),
}


@pytest.mark.parametrize(("overrides", "said"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_what_no_machine_holds_is_refused_with_its_memory(overrides, said):
    started = time.perf_counter()
    with pytest.raises(RecipeError, match=r"^F: ") as caught:
        parse(SMALL, "F", overrides).bind(where="F")
    assert said in str(caught.value)
    assert time.perf_counter() - started < 5  # which placing a billion of anything would not be


WHOLE_NUMBERS = {
    "data.batch_size": LARGEST,
    "data.eval_batch_size": LARGEST,
    "loop.epochs": LARGEST,
    "loop.accumulate": LARGEST,
    "loop.log_every": LARGEST,
    "loop.keep_last": LARGEST,
    "loop.checkpoint_every": LARGEST,
    "stopping.patience": LARGEST,
    "model.num_layers": DEEPEST,
}


@pytest.mark.parametrize(("key", "largest"), WHOLE_NUMBERS.items(), ids=WHOLE_NUMBERS.keys())
def test_a_whole_number_has_a_largest(key, largest):
    model = {"name": "lstm", "hidden_size": 1}
    parse({**SMALL, "model": model}, "F", {key: largest})
    with pytest.raises(RecipeError, match=rf"F: {key} = {largest + 1}: .*{largest}(, or should be 'all')?$"):
        parse({**SMALL, "model": model}, "F", {key: largest + 1})


SIDES = {
    "data.image_size": ({"data.image_size": LARGEST_SIDE + 1}, "data.image_size = 8193"),
    "a crop": ({"data.augment": [{"op": "random_crop", "size": BILLION}]}, "data.augment[0].size"),
    "a cutout": ({"data.augment": [{"op": "cutout", "size": BILLION}]}, "data.augment[0].size"),
    "padding": (
        {"data.augment": [{"op": "random_crop", "size": 8, "padding": BILLION}]},
        "data.augment[0].padding",
    ),
    "a mean": ({"data.normalize": {"mean": [-1e300], "std": [1.0]}}, "data.normalize.mean[0] = -1e+300"),
    "a brightness": (
        {"data.augment": [{"op": "color_jitter", "brightness": 1e300}]},
        "data.augment[0].brightness",
    ),
    "a ratio": (
        {"data.augment": [{"op": "random_erasing", "ratio": [5e-324, 1.0]}]},
        "data.augment[0].ratio[0]",
    ),
    "two sides": (
        {"data.augment": [{"op": "resize", "size": [8, BILLION]}]},
        "data.augment[0].size = 1000000000",
    ),
    "a width": ({"model": {"name": "wide_resnet", "width": BILLION}}, "model.width = 1000000000"),
    "a milestone": ({"schedule": {"name": "multistep", "milestones": [10**30]}}, "schedule.milestones[0]"),
    "epochs in words": ({"loop.checkpoint_every": f"{LARGEST + 1} epochs"}, "from 1 to 2147483647"),
    "epochs of many digits": (
        {"schedule": {"name": "constant", "warmup": {"length": "9" * 5000 + " epochs"}}},
        "schedule.warmup.length = '999",
    ),
}


@pytest.mark.parametrize(("overrides", "said"), SIDES.values(), ids=SIDES.keys())
def test_what_is_too_large_by_itself_is_refused_by_its_key(overrides, said):
    with pytest.raises(RecipeError) as caught:
        parse(SMALL, "F", overrides)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_side_that_a_proportion_makes_too_long_is_refused():
    steps = [{"op": "resize", "size": [2, 1000]}, {"op": "resize", "size": 100}]
    with pytest.raises(RecipeError, match=r"data.augment\[1\] makes images of 100x50000; the limit is 8192"):
        parse(SMALL, "F", {"data.augment": steps, "data.eval_transform": steps}).bind(where="F")


def test_large_models_are_legal():
    sides = [{"op": "resize", "size": 224}]
    data = {"name": "svhn", "batch_size": 1024, "augment": sides, "eval_transform": sides}
    for name in ("vgg19_bn", "resnet50"):
        assert parse({**SMALL, "data": data, "model": {"name": name}}, "F").bind().model.name == name
    assert small_job(model={"name": "wide_resnet", "width": 100}).model.parameters > 3_600_000_000
    assert small_job(data__batch_size=10**9).samples < 10**9  # all in one batch


BAD_NAMES = ["", "..", ".", ".hidden", "end.", "a b", "end ", "a/b", "a\\b", "con", "NUL.txt", "Com1.a.b"]
BAD_NAMES += ["a" * 201, "é" * 101, "a\n", "a\0b", "a:b", "\ud800"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=map(ascii, BAD_NAMES))
def test_a_name_that_is_no_files_name_everywhere_is_refused(name):
    with pytest.raises(RecipeError, match=r"^F: "):
        parse(SMALL, "F", {"name": name})


@pytest.mark.parametrize("name", ["a", "a" * 200, "é" * 100, "数字_mlp", "a.b-c", "-", "console", "aux-1"])
def test_other_names_are_kept(name):
    assert small(name=name).name == name


def test_a_number_of_too_many_digits_is_refused():
    with pytest.raises(RecipeError, match=r"^F: can't be read: Exceeds the limit"):
        parse(SMALL, "F", {"seed": 16**5000})


def test_deep_tables_are_refused():
    for depth in (300, 100_000):
        with pytest.raises(RecipeError, match=r"^F: "):
            parse(SMALL, "F", {".".join(["a"] * depth): 1})


@pytest.mark.parametrize("seed", [-1, 2**64, 16**5000], ids=["negative", "65 bits", "20000 bits"])
def test_the_plan_has_no_words_for_such_a_seed(seed):
    with pytest.raises(UsageError, match="whole number from 0 to"):
        plan.words(seed, "order", 3)


def test_the_plan_has_words_for_every_seed_of_64_bits():
    assert plan.words(2**63, "order", 3).tolist() != plan.words(2**63 - 1, "order", 3).tolist()
    assert plan.words(2**64 - 1, "order", 3).tolist() != plan.words(2**63 - 1, "order", 3).tolist()


def test_paritys_seeds_begin_anew_after_the_largest():
    backend, arrays = plugins.load("numpy"), data.load("digits")
    last, first = (small_job(seed=seed, loop__epochs=1) for seed in (SEEDS - 1, 0))
    assert outcome(backend, last, arrays, 1) == outcome(backend, first, arrays, 0)
