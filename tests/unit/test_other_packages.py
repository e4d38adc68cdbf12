"""What parts of other packages do wrong is told with the package; what ours do wrong stays our bug."""

import copy
import itertools
import json
import logging
import sys

import numpy as np
import pytest
from fake_runs import arrays, made
from recipe_values import SMALL, small

from xtrain import data, models
from xtrain.data import augment
from xtrain.errors import DataError, PluginError, RecipeError, UnsupportedError, UsageError
from xtrain.recipe import parse
from xtrain.recipe.observers import OBSERVERS, watched_by
from xtrain.recipe.schedules import Constant
from xtrain.recipe.schema import schema
from xtrain.runs.run import Run
from xtrain.spec import Lowerings, ModelSpec
from xtrain.spec.augment import AUGMENTS, TRANSFORMS
from xtrain.spec.layer import LAYERS
from xtrain.spec.parts import OwnCode, package_of
from xtrain.spec.tensors import ShapeError
from xtrain.training.assembly import lowered
from xtrain.training.observers.named import Named

HEAD = """
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal
import numpy as np
from xtrain.errors import DataError
from xtrain.extend import Arrays, DatasetInfo, Layer, Loss, Observer, Schedule, ShapeError, TensorSpec, frozen
from xtrain.spec import Flatten, Linear, ReLU

class Kind(Enum):
    SMALL = "small"

def boom(*given):
    raise ValueError("boom")

def made(train=8, test=4, shape=(1, 2, 2)):
    images = [np.zeros((count, *shape), np.uint8) for count in (train, test)]
    labels = [np.arange(count) % 2 for count in (train, test)]
    return Arrays(images[0], labels[0], images[1], labels[1])

INFO = DatasetInfo(
    name="theirs", title="Theirs", input_shape=(1, 2, 2), train=8, test=4, mean=(0.5,), std=(0.5,),
    class_names=("a", "b"),
)
"""
DATASET = """
@frozen
class Theirs:
    name: Literal["theirs"] = "theirs"
    {keys}
    def info(self):
        return INFO
    def load(self, data_dir):
        {load}
"""
MODEL = """
@frozen
class Theirs:
    name: Literal["theirs"] = "theirs"
    def layers(self, input_shape, classes):
        return {layers}
"""
LAYER = """
@frozen
class Theirs(Layer):
    op: Literal["theirs"] = "theirs"
    def output_shape(self, shape):
        return {shape}
    def tensors(self, shape):
        return {tensors}
"""
AUGMENT = """
@frozen
class Theirs:
    words: ClassVar[int] = {words}
    op: Literal["theirs"] = "theirs"
    def output_shape(self, shape):
        return {shape}
    def apply(self, pixels, words):
        return {pixels}
"""
SCHEDULE = """
@frozen
class Theirs(Schedule):
    name: Literal["theirs"] = "theirs"
    def scheduled(self, lr, clock):
        return {lr}
"""
OBSERVER = """
@frozen
class Theirs:
    name: Literal["theirs"] = "theirs"
    def observer(self):
        return {watcher}
class Leaves(Observer):
    def epoch(self, record):
        raise SystemExit(4)
"""
ALIKE = """
@frozen
class Noise:
    {tag}: int = 1

@frozen
class ReLU(Layer):
    op: Literal["{tag}"] = "{tag}"
    noise: Noise = Noise()
"""
_FRESH = itertools.count()


@pytest.fixture
def theirs(offer):
    """A package with one part called `theirs`; its name and version."""

    def install(group, source):
        package = f"others{next(_FRESH)}"
        offer(package, f"xtrain.{group}", "theirs", HEAD + source, "Theirs")
        return f"{package} 1.0"

    return install


@pytest.fixture
def dataset(theirs):
    def install(load="return made()", keys=""):
        return theirs("data", DATASET.format(load=load, keys=keys))

    return install


def recipe(**changes):
    return parse(copy.deepcopy(SMALL) | changes, "R")


def step():
    return AUGMENTS.find("theirs")()


def test_a_part_is_asked_for_its_package(theirs):
    package = theirs("layers", LAYER.format(shape="shape", tensors="{}"))
    assert package_of(LAYERS.find("theirs")()) == package
    assert package_of(Constant()) == ""


@pytest.mark.parametrize("load", ["boom()", "open('/not/there')", "raise SystemExit(3)"])
def test_what_load_raises_is_told_with_the_package(load, dataset):
    package = dataset(load)
    with pytest.raises(PluginError, match=f"{package} offers 'theirs', whose load\\(\\) fails: ") as caught:
        data.load("theirs")
    assert caught.value.__cause__ is not None


def test_what_a_package_tells_the_user_stays_as_it_is(dataset):
    dataset("raise DataError('is not there', where='x.bin')")
    with pytest.raises(DataError, match=r"^x\.bin: is not there$"):
        data.load("theirs")


def test_what_info_raises_is_told_with_the_package(theirs):
    package = theirs("data", DATASET.format(keys="", load="boom()").replace("return INFO", "boom()"))
    with pytest.raises(
        PluginError, match=rf"{package} offers 'theirs', whose info\(\) fails: ValueError: boom"
    ):
        data.info("theirs")


def test_what_making_a_part_raises_is_told_with_the_package(dataset):
    package = dataset(keys="def __post_init__(self): raise RuntimeError('no licence')")
    told = f"{package} offers 'theirs', which can't be made: RuntimeError: no licence"
    with pytest.raises(RecipeError, match=told):
        recipe(data={"name": "theirs", "batch_size": 4})
    with pytest.raises(PluginError, match=told):
        data.info("theirs")


@pytest.mark.parametrize(
    ("load", "problem"),
    [
        (
            "return made(shape=(1, 3, 2))",
            r"train split has images of shape \(8, 1, 3, 2\), its info\(\) says",
        ),
        ("return made(test=3)", r"test split has images of shape \(3, 1, 2, 2\), its info\(\) says \(4, 1"),
        ("return made(train=0)", "train split has no images"),
        ("a = made(); a.train_labels[0] = 2; return a", "train split has labels from 0 to 2, .* says 0 to 1"),
        ("a = made(); a.test_labels[0] = -1; return a", "test split has labels from -1 to 1, .* says 0 to 1"),
        ("return None", "train split has no images of uint8"),
    ],
)
def test_arrays_are_those_that_info_tells_of(load, problem, dataset):
    package = dataset(load)
    with pytest.raises(DataError, match=f"^theirs of {package}: its {problem}"):
        data.load("theirs")


def test_arrays_can_be_written_and_lie_in_their_order(dataset):
    flipped, fixed = "a.train_images[:, :, ::-1]", "np.broadcast_to(a.test_images[:1], a.test_images.shape)"
    dataset(f"a = made(); return Arrays({flipped}, a.train_labels, {fixed}, a.test_labels)")
    found = data.load("theirs")
    for array in vars(found).values():
        assert array.flags.c_contiguous
        assert array.flags.writeable


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ("boom()", "ValueError: boom"),
        ("None", "TypeError: 'NoneType' object is not iterable"),
        ("(Flatten(), 3)", "TypeError: 3 is no layer"),
    ],
)
def test_what_a_model_does_wrong_is_told_with_the_package(layers, problem, theirs):
    package = theirs("models", MODEL.format(layers=layers))
    with pytest.raises(PluginError, match=rf"{package} offers 'theirs', whose layers\(\) fails: {problem}"):
        models.build("theirs", (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("shape", "tensors", "problem"),
    [
        ("boom()", "{}", "ValueError: boom"),
        ("None", "{}", "TypeError: None is no shape"),
        ("shape", "boom()", "ValueError: boom"),
        ("shape", "{'w': (3,)}", r"TypeError: tensor 'w' is \(3,\), not a TensorSpec"),
    ],
)
def test_what_a_layer_does_wrong_is_told_with_the_package(shape, tensors, problem, theirs):
    package = theirs("layers", LAYER.format(shape=shape, tensors=tensors))
    with pytest.raises(PluginError, match=f"{package} offers 'theirs', whose .* fails: {problem}"):
        ModelSpec("m", (3,), (LAYERS.find("theirs")(),))


def test_a_shape_that_does_not_fit_tensors_is_told_with_its_layer(theirs):
    theirs(
        "layers",
        LAYER.format(shape="shape", tensors="self.refuse()") + "    def refuse(self):\n"
        "        raise ShapeError('takes no vector')\n",
    )
    with pytest.raises(ShapeError, match="layer theirs1, given 3: takes no vector"):
        ModelSpec("m", (3,), (LAYERS.find("theirs")(),))


def test_what_an_augmentation_does_wrong_is_told_with_the_package(theirs):
    package = theirs("augment", AUGMENT.format(words=0, shape="shape", pixels="boom()"))
    with pytest.raises(
        PluginError, match=rf"{package} offers 'theirs', whose apply\(\) fails: ValueError: boom"
    ):
        augment.apply(step(), np.zeros((3, 1, 4, 4), np.uint8), np.zeros((3, 0), np.uint64))


@pytest.mark.parametrize(
    ("shape", "problem"), [("boom()", "ValueError: boom"), ("(3,)", r"\(3,\) is no shape of 3 numbers")]
)
def test_the_shape_of_an_augmentation_is_told_with_the_package(shape, problem, theirs):
    package = theirs("augment", AUGMENT.format(words=0, shape=shape, pixels="pixels"))
    found = recipe(data={**SMALL["data"], "augment": [{"op": "theirs"}]})
    with pytest.raises(
        PluginError, match=rf"{package} offers 'theirs', whose output_shape\(\) fails: .*{problem}"
    ):
        found.bind()


def test_pixels_of_another_shape_are_told_with_the_package(theirs):
    package = theirs("augment", AUGMENT.format(words=0, shape="shape", pixels="pixels[:, :, 1:]"))
    with pytest.raises(PluginError, match=f"{package}: augmentation 'theirs' gives uint8"):
        augment.apply(step(), np.zeros((3, 1, 4, 4), np.uint8), np.zeros((3, 0), np.uint64))


@pytest.mark.parametrize("lr", ["boom()", "None"])
def test_what_a_schedule_does_wrong_is_told_with_the_package(lr, theirs):
    package = theirs("schedules", SCHEDULE.format(lr=lr))
    job = recipe(schedule={"name": "theirs"}).bind()
    with pytest.raises(PluginError, match=f"{package} offers 'theirs', whose learning rate fails: "):
        job.lr(job.clock(1))


def test_what_a_lowering_raises_is_told_with_the_package(theirs):
    package = theirs("layers", LAYER.format(shape="shape", tensors="{}"))
    layer = LAYERS.find("theirs")()
    table = Lowerings("there", "layer")
    table.register(type(layer), "{nothing}")(lambda node, layer: layer.nothing)
    told = f"{package} offers 'theirs', whose lowering for there fails: AttributeError"
    with pytest.raises(PluginError, match=told):
        table.lower(ModelSpec("m", (3,), (layer,)).nodes[0])
    with pytest.raises(PluginError, match=f"{package} offers 'theirs', whose term for there fails: KeyError"):
        table.term(layer)


def test_what_fails_in_a_step_is_told_with_the_packages_that_take_part(theirs):
    package = theirs("layers", LAYER.format(shape="shape", tensors="{}"))
    layers = [{"op": "flatten"}, {"op": "theirs"}, {"op": "linear", "out_features": 10}]
    told = f"^{package} offers 'theirs', with whose lowering the training fails: KeyError: 'theirs1.w'"
    with pytest.raises(PluginError, match=told), lowered(recipe(model={"layers": layers}).bind()):
        raise KeyError("theirs1.w")


def test_our_own_bugs_stay_ours(theirs):
    with pytest.raises(KeyError), lowered(small().bind()):
        raise KeyError("fc1.weight")
    with pytest.raises(ValueError, match="boom"), OwnCode("which fails", Constant(), AUGMENTS.own["cutout"]):
        raise ValueError("boom")
    theirs("layers", LAYER.format(shape="shape", tensors="{}"))
    with pytest.raises(MemoryError), OwnCode("which fails", LAYERS.find("theirs")()):
        raise MemoryError


def test_a_lowering_that_is_not_there_is_told_with_the_package(theirs, offer):
    package = theirs("layers", LAYER.format(shape="shape", tensors="{}"))
    offer(f"lowering{next(_FRESH)}", "xtrain.lowerings", "here.theirs", "", "nothing")
    layer, table = LAYERS.find("theirs")(), Lowerings("there", "layer")
    told = f"{package} offers no 'there.theirs' in xtrain.lowerings\n  backends that have it: here"
    node = ModelSpec("m", (3,), (layer,)).nodes[0]
    with pytest.raises(UnsupportedError, match=rf"no lowering for layer theirs1 \(Theirs\): {told}"):
        table.lower(node)
    with pytest.raises(UnsupportedError, match=rf"no lowering for layer theirs1 \(Theirs\): {told}"):
        table.term(layer, node=node)
    with pytest.raises(UnsupportedError, match=f"no lowering for layer Theirs: {told}"):
        table.term(layer)


@pytest.mark.parametrize(
    ("keys", "given", "kept"),
    [
        ("folder: Path = Path('x')", {"folder": "y"}, "y"),
        ("kind: Kind = Kind.SMALL", {}, "small"),
        ("these: frozenset[str] = frozenset('ab')", {"these": ["c", "d"]}, ["c", "d"]),
        ("deep: dict[str, Path]", {"deep": {"a": "b"}}, {"a": "b"}),
    ],
)
def test_keys_of_any_type_come_back_from_the_recipe(keys, given, kept, dataset):
    dataset(keys=keys)
    found = recipe(data={"name": "theirs", "batch_size": 4, **given})
    plain = found.to_dict()
    assert plain["data"][keys.partition(":")[0]] == kept
    assert found.to_toml()
    assert parse(plain, "again") == found


@pytest.mark.parametrize(
    ("keys", "given", "problem"),
    [
        ("hook: Any = boom", {}, "Unable to serialize unknown type: .*function"),
        ("opt: float | None = 0.5", {"opt": None}, "opt = None would be 0.5 there"),
    ],
)
def test_a_value_that_recipe_toml_can_not_keep_is_refused(keys, given, problem, dataset):
    dataset(keys=keys)
    with pytest.raises(RecipeError, match=f"data.name = 'theirs': can't be kept in recipe.toml: {problem}"):
        recipe(data={"name": "theirs", "batch_size": 4, **given})


def test_a_key_of_the_section_is_no_part_s_own(dataset):
    package = dataset(keys="batch_size: int = 1")
    with pytest.raises(RecipeError, match=f"{package} offers 'theirs', which has keys .* own, batch_size"):
        recipe(data={"name": "theirs", "batch_size": 4})


def test_what_is_drawn_says_where_it_stands(theirs):
    theirs("augment", AUGMENT.format(words=1, shape="shape", pixels="pixels"))
    assert "theirs" in AUGMENTS.names()
    assert "theirs" not in TRANSFORMS.names()
    told = r"eval_transform\[0\]\.op = 'theirs': draws random words, so it stands in data.augment only$"
    with pytest.raises(RecipeError, match=told):
        recipe(data={**SMALL["data"], "eval_transform": [{"op": "theirs"}]})


def test_the_remedy_of_a_package_is_told_in_a_recipe(theirs):
    theirs("schedules", "raise OSError('no library')")
    with pytest.raises(RecipeError, match="OSError: no library; install it anew, or uninstall it"):
        recipe(schedule={"name": "theirs"})
    theirs("schedules", SCHEDULE.format(lr="lr"))
    with pytest.raises(RecipeError, match=r"2 packages offer 'theirs': .*; uninstall all but one"):
        recipe(schedule={"name": "theirs"})


@pytest.mark.parametrize(
    ("group", "base"), [("layers", "Layer"), ("losses", "Loss"), ("schedules", "Schedule")]
)
def test_a_part_without_its_base_is_told_which_to_take(group, base, theirs):
    tag = "op" if group == "layers" else "name"
    theirs(group, f"@frozen\nclass Theirs:\n    {tag}: Literal['theirs'] = 'theirs'\n")
    section = {"layers": [{"op": "theirs"}]} if group == "layers" else {"name": "theirs"}
    key = {"layers": "model", "losses": "loss", "schedules": "schedule"}[group]
    with pytest.raises(RecipeError, match=f"which lacks .*; derive it from xtrain.extend.{base}"):
        recipe(**{key: section})


def test_no_observer_at_all_is_told():
    assert OBSERVERS.names() == []
    with pytest.raises(RecipeError, match="'journal': unknown; no package that is installed offers one"):
        recipe(observers=[{"name": "journal"}])


@pytest.mark.parametrize(
    ("watcher", "problem"),
    [
        ("boom()", "ValueError: boom"),
        ("None", r"TypeError: observer\(\) gives None, which has none of an observer's methods"),
        ("Observer", r"TypeError: observer\(\) gives <class"),
        ("exit(3)", "SystemExit: 3"),
    ],
)
def test_an_observer_that_is_none_is_told_with_the_package(watcher, problem, theirs):
    package = theirs("observers", OBSERVER.format(watcher=watcher))
    [part] = watched_by(recipe().bind(), ["theirs"]).recipe.observers
    with pytest.raises(PluginError, match=f"{package}: observer 'theirs' can't be made: {problem}"):
        Named(part)


def test_an_observer_that_leaves_ends_no_training(theirs, caplog):
    package = theirs("observers", OBSERVER.format(watcher="Leaves()"))
    [part] = watched_by(recipe().bind(), ["theirs"]).recipe.observers
    watching = Named(part)
    watching.epoch(None)
    watching.epoch(None)
    told = f"{package}: observer 'theirs' failed and is told no more: SystemExit: 4"
    assert [record.message for record in caplog.records] == [told]


def test_a_run_says_which_packages_it_needs(dataset, tmp_path, monkeypatch):
    package = dataset("return made()")
    found = recipe(
        data={"name": "theirs", "batch_size": 4},
        model={"layers": [{"op": "flatten"}, {"op": "linear", "out_features": 2}]},
    )
    made(tmp_path / "run", found.bind())
    run = Run(tmp_path / "run")
    assert json.loads((run.path / "run.json").read_text())["parts"] == {"data.theirs": package}
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(tmp_path)])
    told = rf"install what the run was made with: {package} \(for data.theirs\)"
    with pytest.raises(RecipeError, match=rf"data.name = 'theirs': unknown.*\n  {told}"):
        run.job  # noqa: B018 - which is what fails
    assert run.best is None
    assert run.setting("name") == "small"


def test_a_run_of_our_own_parts_names_no_package(tmp_path):
    made(tmp_path / "run", small().bind())
    assert "parts" not in json.loads((tmp_path / "run" / "run.json").read_text())


def test_parts_called_alike_stand_beside_ours_in_the_schema(theirs, offer):
    ours = schema()["$defs"]
    for name in ("one", "two"):
        offer(f"alike_{name}", "xtrain.layers", name, HEAD + ALIKE.format(tag=name), "ReLU")
    found = schema()["$defs"]
    assert {key: found[key] for key in ours if key != "Layer"} == {
        key: ours[key] for key in ours if key != "Layer"
    }
    for name in ("one", "two"):
        place = f"Layer.alike_{name}.{name}"
        assert found[place]["properties"]["op"]["const"] == name
        assert found[place]["properties"]["noise"]["$ref"] == f"#/$defs/{place}.Noise"
        assert list(found[f"{place}.Noise"]["properties"]) == [name]
        assert {"$ref": f"#/$defs/{place}"} in found["Layer"]["oneOf"]


@pytest.mark.parametrize("more", ["    hook: Callable[..., Any] | None = None\n", "raise SystemExit(3)\n"])
def test_a_part_without_a_schema_is_left_out_of_it(more, theirs, caplog):
    package = theirs("schedules", SCHEDULE.format(lr="lr") + more)
    with caplog.at_level(logging.WARNING):
        assert "Schedule.Theirs" not in schema()["$defs"]
    assert f"theirs of {package} is left out of the schema: " in caplog.text


def test_an_unknown_name_is_still_unknown():
    with pytest.raises(UsageError, match="there is no data set 'theirs'"):
        data.load("theirs")
    assert len(arrays().train_images)
