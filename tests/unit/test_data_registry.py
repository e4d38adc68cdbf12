import dataclasses
import subprocess
import sys

import pytest

from xtrain import data
from xtrain.errors import UsageError

SIZES = {
    "digits": ((1, 8, 8), 10, 1437, 360),
    "mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "fashion_mnist": ((1, 28, 28), 10, 60_000, 10_000),
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
    "svhn": ((3, 32, 32), 10, 73_257, 26_032),
}
OWN = ("image_folder", "npz", "npy")


def test_names_are_those_of_the_recipes():
    assert data.names() == list(SIZES)
    assert tuple(data.own()) == OWN


@pytest.mark.parametrize("name", SIZES)
def test_info_says_what_the_data_set_has(name):
    info = data.info(name)
    assert info.name == name
    assert (info.input_shape, info.classes, info.train, info.test) == SIZES[name]
    assert len(info.mean) == len(info.std) == info.input_shape[0]
    assert all(0 < value < 1 for value in (*info.mean, *info.std))
    assert len(set(info.class_names)) == info.classes
    assert info.title


def test_info_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.info("digits").train = 1


@pytest.mark.parametrize("function", [data.info, data.load])
def test_an_unknown_name_gets_the_nearest_one_and_the_list(function):
    with pytest.raises(UsageError) as caught:
        function("fasion-mnist")
    assert "'fasion-mnist'" in str(caught.value)
    assert "did you mean 'fashion_mnist'?" in str(caught.value)
    assert all(name in str(caught.value) for name in (*SIZES, *OWN))


def test_a_name_near_none_gets_the_list_alone():
    with pytest.raises(UsageError) as caught:
        data.info("imagenet-21k")
    assert "did you mean" not in str(caught.value)
    assert "cifar100" in str(caught.value)


def test_importing_it_loads_nothing_heavy():
    heavy = (
        "sklearn",
        "scipy",
        "PIL",
        "pooch",
        "requests",
        "matplotlib",
        "tqdm",
        "torch",
        "paddle",
        "mindspore",
    )
    code = f"import sys, xtrain.data; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
