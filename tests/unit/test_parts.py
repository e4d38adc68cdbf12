"""Parts by name: found by metadata alone, checked when they are asked for, never in the way of ours."""

import copy
import sys
from dataclasses import replace

import pytest
from pydantic import ValidationError
from recipe_values import SMALL

from xtrain.errors import PluginError, RecipeError, UsageError
from xtrain.recipe import parse
from xtrain.recipe.observers import watched_by
from xtrain.recipe.schedules import SCHEDULES
from xtrain.spec.augment import AUGMENTS, TRANSFORMS
from xtrain.spec.optimizer import OPTIMIZERS

SCHEDULE = """
from typing import Literal
from xtrain.extend import Schedule, frozen

@frozen
class Halved(Schedule):
    name: Literal["halved"] = "halved"
    times: int = 1

    def scheduled(self, lr, clock):
        return lr / 2**self.times
"""
FLIP = """
from typing import ClassVar, Literal
from xtrain.extend import frozen

@frozen
class Turned:
    words: ClassVar[int] = {words}
    op: Literal["turned"] = "turned"

    def output_shape(self, shape):
        return shape

    def apply(self, pixels, words):
        return pixels[:, :, ::-1]{more}
"""


def recipe(**changes):
    return parse(copy.deepcopy(SMALL) | changes, "R")


def test_one_of_another_package_is_like_ours(offer):
    offer("halving", "xtrain.schedules", "halved", SCHEDULE, "Halved")
    assert "halved" in SCHEDULES.names()
    assert SCHEDULES.offered() == {"halved": "halving 1.0"}
    assert "halving" not in sys.modules  # its metadata alone was read
    found = recipe(schedule={"name": "halved", "times": 2})
    assert found.schedule.times == 2
    assert found.to_dict()["schedule"] == {"name": "halved", "by": "epoch", "times": 2}
    assert parse(found.to_dict(), "again") == found


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ({"name": "halved", "time": 2}, "schedule.time = 2: unknown key; did you mean 'times'?"),
        ({"name": "halved", "times": "x"}, "schedule.times = 'x': should be a valid integer"),
        ({"name": "halvd"}, "schedule.name = 'halvd': unknown; did you mean 'halved'?"),
        ({"times": 2}, "schedule: name is missing"),
        (3, 'schedule = 3: should be a table with name = "..."'),
    ],
)
def test_what_is_wrong_with_it_is_told_as_of_ours(schedule, problem, offer):
    offer("halving", "xtrain.schedules", "halved", SCHEDULE, "Halved")
    with pytest.raises(RecipeError) as caught:
        recipe(schedule=schedule)
    assert problem in str(caught.value)


BROKEN = {
    "raises": ("raise OSError('no library')", "does not load: OSError: no library"),
    "not_there": ("", "does not load: AttributeError"),
    "exits": ("raise SystemExit(3)", "does not load: SystemExit: 3; install it anew, or uninstall it"),
    "no_class": ("Halved = 3", "is not a class made by xtrain.extend.frozen"),
    "not_frozen": ("class Halved: name = 'halved'", "is not a class made by xtrain.extend.frozen"),
    "another_name": (SCHEDULE.replace('"halved"', '"other"'), "its name must be Literal['halved']"),
    "lacks": (
        SCHEDULE.replace("(Schedule)", "").replace("scheduled", "other"),
        "which lacks lr, momentum, moves_momentum, needs_epochs, watched, watching, update; "
        "derive it from xtrain.extend.Schedule",
    ),
}


@pytest.mark.parametrize(("source", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_one_is_told_with_its_package_where_it_is_named(source, problem, request, offer):
    package = f"broken_{request.node.callspec.id}"
    offer(package, "xtrain.schedules", "halved", source, "Halved")
    assert recipe().schedule.name == "constant"
    with pytest.raises(RecipeError) as caught:
        recipe(schedule={"name": "halved"})
    assert f"R: schedule.name = 'halved': {package} 1.0 offers 'halved', which" in str(caught.value)
    assert problem in str(caught.value)


def test_a_name_that_two_packages_offer_is_told(offer):
    for package in ("halving_one", "halving_two"):
        offer(package, "xtrain.schedules", "halved", SCHEDULE, "Halved")
    with pytest.raises(PluginError, match=r"2 packages offer 'halved': halving_\w+ 1.0, halving_\w+ 1.0"):
        SCHEDULES.find("halved")


def test_ours_can_not_be_replaced(offer):
    offer("impostor", "xtrain.schedules", "cosine", "raise SystemExit", "Cosine")
    assert SCHEDULES.find("cosine") is SCHEDULES.own["cosine"]
    assert SCHEDULES.offered() == {}


def test_optimizers_are_ours_alone(offer):
    offer("newton", "xtrain.optimizers", "newton", "", "Newton")
    assert OPTIMIZERS.offered() == {}
    with pytest.raises(RecipeError, match=r"optimizer\.name = 'newton': unknown"):
        recipe(optimizer={"name": "newton"})


@pytest.mark.parametrize(("words", "fits"), [(0, True), (1, False)])
def test_what_is_drawn_is_for_training_alone(words, fits, offer):
    offer(f"turning_{words}", "xtrain.augment", "turned", FLIP.format(words=words, more=""), "Turned")
    assert AUGMENTS.find("turned")
    assert bool(TRANSFORMS.find("turned")) is fits


def test_pixels_of_another_kind_are_refused(offer):
    import numpy as np

    from xtrain.data import augment

    offer("turning_wide", "xtrain.augment", "turned", FLIP.format(words=0, more="[..., :2]"), "Turned")
    step = AUGMENTS.find("turned")()
    with pytest.raises(PluginError, match=r"'turned' gives uint8 \(3, 1, 4, 2\), not uint8 \(3, 1, 4, 4\)"):
        augment.apply(step, np.zeros((3, 1, 4, 4), np.uint8), np.zeros((3, 0), np.uint64))


def test_a_value_of_another_sort_is_refused():
    found = recipe()
    for key, other in (("model", found.optimizer), ("optimizer", found.model), ("loss", found.schedule)):
        with pytest.raises(ValidationError, match="is no "):
            replace(found, **{key: other})
    assert replace(found, schedule=SCHEDULES.own["cosine"]()).schedule.name == "cosine"


def test_an_observer_that_is_not_there_is_told():
    with pytest.raises(UsageError, match="there is no observer 'tensorbord'"):
        watched_by(recipe().bind(), ["tensorbord"])


def test_an_observer_that_needs_keys_is_told(offer):
    source = """
from typing import Literal
from xtrain.extend import Observer, frozen

@frozen
class Told:
    name: Literal["told"] = "told"
    whom: str

    def observer(self):
        return Observer()
"""
    offer("telling", "xtrain.observers", "told", source, "Told")
    with pytest.raises(UsageError, match=r"needs keys\n.*\[\[observers\]\] with name = \"told\""):
        watched_by(recipe().bind(), ["told"])
    found = recipe(observers=[{"name": "told", "whom": "me"}])
    assert found.observers[0].whom == "me"
