"""Recipes that are valid: defaults, the way back to TOML, overrides, the shipped ones."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_values import SMALL, recipe_values, small, small_job

from xtrain import data
from xtrain.errors import RecipeError
from xtrain.recipe import Normalize, load_recipe, parse, shipped
from xtrain.spec import SGD, Adam, RandomHorizontalFlip

SHIPPED = ("cifar10_lenet", "cifar10_simplecnn", "digits_cnn", "digits_mlp", "mnist_mlp", "mnist_mlp_deep")


def test_every_default_is_made_explicit():
    recipe = small()
    assert (recipe.seed, recipe.schedule.name, recipe.loss.name) == (0, "constant", "cross_entropy")
    assert (recipe.loop.log_every, recipe.loop.checkpoint_every) == (100, "1 epoch")
    assert recipe.optimizer == SGD(lr=0.1, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0)
    about = data.info("digits")
    assert recipe.data.normalize is None  # what the data decides is not decided yet
    job = small_job()
    assert job.normalize == job.recipe.data.normalize == Normalize(mean=about.mean, std=about.std)
    assert tomllib.loads(job.recipe.to_toml())["data"] == {
        "name": "digits",
        "batch_size": 64,
        "eval_batch_size": 256,
        "augment": [],
        "eval_transform": [],
        "normalize": {"mean": list(about.mean), "std": list(about.std)},
        "drop_last": False,
    }


@settings(max_examples=150)
@given(values=recipe_values())
def test_the_resolved_recipe_reads_back_to_an_equal_one(values, tmp_path_factory):
    recipe = parse(values, "given")
    path = tmp_path_factory.getbasetemp() / "resolved.toml"
    for written in (recipe, recipe.bind(where="given").recipe):
        path.write_text(written.to_toml(), encoding="utf-8")
        again = load_recipe(path)
        assert again == written
        assert again.bind(where=path) == recipe.bind(where="given")
        assert again.to_toml() == written.to_toml()


@given(values=recipe_values())
def test_values_are_kept_as_given(values):
    resolved = parse(values, "given").to_dict()
    for key, value in values["optimizer"].items():
        assert resolved["optimizer"][key] == value
    assert resolved["loop"].items() >= values["loop"].items()
    assert resolved["data"].items() >= {k: v for k, v in values["data"].items() if k != "augment"}.items()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_by_name_and_path(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe == load_recipe(shipped()[name])


def test_the_shipped_recipes_are_these():
    assert set(shipped()) >= set(SHIPPED)
    parameters = {name: load_recipe(name).bind().model.parameters for name in SHIPPED[:2] + SHIPPED[4:]}
    assert list(parameters.values()) == [62_006, 315_722, 669_706, 1_518_986]
    assert all("backend" not in path.read_text() for path in shipped().values())


def test_a_file_of_that_name_comes_before_the_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits_mlp").write_text(small(name="mine").to_toml())
    assert load_recipe("digits_mlp").name == "mine"


def test_layers_spelled_out_need_no_name():
    layers = [{"op": "flatten"}, {"op": "linear", "out_features": 10, "name": "logits"}]
    job = parse({**SMALL, "model": {"layers": layers}}, "F").bind(where="F")
    assert job.recipe.model.name == "custom"
    assert list(job.model.tensors) == ["logits.weight", "logits.bias"]


def test_the_learning_rate_follows_the_schedule():
    job = small_job(schedule={"name": "multistep", "milestones": [1, 3], "gamma": 0.5}, loop__epochs=4)
    lrs = [job.lr(job.clock(1 + epoch * job.steps_per_epoch)) for epoch in range(4)]
    assert lrs == [0.1, 0.05, 0.05, 0.025]


OVERRIDES = {
    "optimizer.name": "adam",
    "optimizer.betas": [0.8, 0.9],
    "optimizer.lr": 0.25,
    "model.name": "simplecnn",
    "model.channels": [4],
    "model.padding": 1,
    "data.augment": [{"op": "random_horizontal_flip", "p": 0.25}],
    "data.normalize.mean": [0.5],
    "data.normalize": {"mean": [0.1], "std": [0.2]},
    "seed": 7,
    "loop": {"epochs": 9, "log_every": 3},
    "loop.epochs": 4,
}


@given(order=st.permutations(list(OVERRIDES)))
def test_overrides_mean_the_same_in_any_order(order):
    recipe = parse(SMALL, "F", {key: OVERRIDES[key] for key in order})
    assert recipe.optimizer == Adam(lr=0.25, betas=(0.8, 0.9))
    assert (recipe.model.name, recipe.model.channels, recipe.model.padding) == ("simplecnn", (4,), 1)
    assert recipe.data.augment == (RandomHorizontalFlip(p=0.25),)
    assert recipe.data.normalize == Normalize(mean=(0.5,), std=(0.2,))
    assert (recipe.seed, recipe.loop.epochs, recipe.loop.log_every) == (7, 4, 3)


def test_another_optimizer_drops_the_old_ones_own_keys():
    values = {**SMALL, "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.9, "weight_decay": 0.01}}
    recipe = parse(values, "F", {"optimizer.name": "adam"})
    assert recipe.optimizer == Adam(lr=0.3, weight_decay=0.01)
    kept = parse(values, "F", {"optimizer.name": "sgd"})
    assert kept.optimizer.momentum == 0.9


def test_another_model_or_schedule_drops_keys_too():
    values = {**SMALL, "schedule": {"name": "multistep", "milestones": [1]}}
    assert parse(values, "F", {"schedule.name": "constant"}).schedule.name == "constant"
    assert parse(values, "F", {"data.name": "mnist", "model.name": "lenet"}).model.name == "lenet"


def test_keys_set_for_another_optimizer_are_refused():
    with pytest.raises(RecipeError, match=r"optimizer\.momentum = 0\.9: unknown key"):
        small(optimizer__name="adam", optimizer__momentum=0.9)


def test_a_section_that_is_not_there_is_made():
    assert small(schedule__name="multistep", schedule__milestones=[2]).schedule.milestones == (2,)


def test_overrides_leave_the_given_values_alone():
    before = repr(SMALL)
    parse(SMALL, "F", OVERRIDES)
    assert repr(SMALL) == before
