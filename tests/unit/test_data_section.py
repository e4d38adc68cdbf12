"""The `[data]` section: normalisation, sizes, validation, one's own data; and the splits made of it."""

import tomllib

import numpy as np
import platformdirs
import pytest
from fake_runs import arrays, bound
from hypothesis import given
from hypothesis import strategies as st
from recipe_values import SMALL, small, small_job

from xtrain import plan
from xtrain.errors import RecipeError
from xtrain.recipe import Normalize, parse
from xtrain.spec import CenterCrop, RandomCrop, Resize
from xtrain.training.assembly import splits

SVHN = {"name": "svhn", "batch_size": 64}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Path of an .npz file with ten images of 3x12x10 pixels."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    images = np.random.default_rng(0).integers(0, 256, (10, 12, 10, 3), dtype=np.uint8)
    labels = np.arange(10) % 2
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
    return tmp_path / "own.npz"


def over(**section):
    """SMALL over SVHN, with these keys of `[data]`."""
    return parse({**SMALL, "data": {**SVHN, **section}}, "F").bind(where="F")


def again(job):
    """What the job's recipe, written as TOML, is read back as."""
    return parse(tomllib.loads(job.recipe.to_toml()), "F").bind(where="F")


def test_normalisation_by_name_becomes_figures():
    published = over().normalize
    assert published == Normalize(mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970))
    assert over(normalize="dataset").normalize == published
    imagenet = over(normalize="imagenet")
    assert imagenet.normalize == Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert again(imagenet) == imagenet


def test_training_on_drawn_crops_and_evaluation_on_the_middle():
    changes = {
        "augment": [{"op": "random_crop", "size": 28}],
        "eval_transform": [{"op": "center_crop", "size": 28}],
    }
    job = over(**changes, extra=True)
    assert job.model.input_shape == (3, 28, 28)
    assert job.recipe.data.augment == (RandomCrop(size=28),)
    assert job.recipe.data.eval_transform == (CenterCrop(size=28),)
    assert again(job) == job
    assert tomllib.loads(job.recipe.to_toml())["data"]["extra"] is True


def test_steps_follow_one_another():
    steps = [{"op": "resize", "size": [20, 12]}, {"op": "random_crop", "size": 14, "padding": 1}]
    job = small_job(data__augment=steps, data__eval_transform=[{"op": "resize", "size": [14, 14]}])
    assert job.model.input_shape == (1, 14, 14)
    assert job.recipe.data.eval_transform == (Resize(size=(14, 14)),)


def test_ones_own_data_says_its_own_figures(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    job = small_job(data__name="npz", data__path="own.npz")
    assert job.recipe.data.dataset.path == str(own)
    assert job.model.input_shape == (3, 12, 10)
    assert job.model.output_shape == (2,)
    assert len(job.recipe.data.normalize.mean) == 3
    monkeypatch.chdir("/")
    assert again(job) == job


def test_a_channel_of_one_value_needs_figures(own):
    flat = np.full((10, 8, 8), 7, np.uint8)
    np.savez(own, x_train=flat, y_train=np.arange(10) % 2, x_test=flat, y_test=np.arange(10) % 2)
    with pytest.raises(RecipeError, match=r"small.toml: data.normalize is missing: npz has a channel of one"):
        small_job(data__name="npz", data__path=str(own))
    given = {"mean": [0.0], "std": [1.0]}
    assert small_job(data__name="npz", data__path=str(own), data__normalize=given).normalize.std == (1.0,)


def test_defaults_that_only_some_data_sets_have_are_explicit_there(tmp_path):
    assert over().recipe.to_dict()["data"]["extra"] is False
    assert set(small_job().recipe.to_dict()["data"]) == {
        *("name", "batch_size", "eval_batch_size", "augment", "eval_transform", "normalize", "drop_last")
    }


REFUSED = {
    "a word for figures": (
        {"data.normalize": "cifar"},
        ['data.normalize = \'cifar\': give "dataset", "imag'],
    ),
    "three channels of one": ({"data.normalize": "imagenet"}, ["data.normalize.mean = [0.485", "1 channel"]),
    "sizes that differ": (
        {"data.augment": [{"op": "random_crop", "size": 6}]},
        ["data.augment gives images of 6x6, data.eval_transform of 8x8"],
    ),
    "a crop that does not fit": (
        {"data.augment": [{"op": "random_crop", "size": 11, "padding": 1}]},
        ["data.augment[0].size = 11: must be 10 or less"],
    ),
    "a draw in an evaluation": (
        {"data.eval_transform": [{"op": "random_horizontal_flip"}]},
        ["data.eval_transform[0].op = 'random_horizontal_flip'", "allowed: center_crop, resize"],
    ),
    "a fill of other channels": (
        {"data.augment": [{"op": "random_rotation", "degrees": 5, "fill": [1, 2, 3]}]},
        ["data.augment[0].fill = [1, 2, 3]: give one value, or 1"],
    ),
    "a path to a published one": ({"data.path": "x"}, ["data.path = ", "only for image_folder, npz, npy"]),
    "no path": ({"data.name": "npz"}, ["data.path: is missing"]),
    "a size for a published one": ({"data.image_size": 8}, ["data.image_size = 8: only for image_folder"]),
    "a fit for a published one": ({"data.fit": "resize"}, ["data.fit = 'resize': only for image_folder"]),
    "another fit": (
        {"data.name": "image_folder", "data.path": "x", "data.fit": "crop"},
        ["data.fit = 'crop'", "'resize' or 'center_crop'"],
    ),
    "extra of another": ({"data.extra": True}, ["data.extra = True: only for svhn"]),
    "no validation": (
        {"data.validation": {"fraction": 0}},
        ["data.validation.fraction = 0", "greater than 0"],
    ),
    "all for validation": ({"data.validation": {"fraction": 1}}, ["fraction = 1", "less than 1"]),
    "nothing left": (
        {"data.validation": {"fraction": 0.9999}},
        ["data.validation.fraction = 0.9999: of 1437 images that is 1437"],
    ),
    "none held out": ({"data.validation": {"fraction": 0.0001}}, ["of 1437 images that is 0"]),
    "no batch left": (
        {"data.validation": {"fraction": 0.5}, "data.batch_size": 800, "data.drop_last": True},
        ["data.batch_size = 800", "719 samples"],
    ),
}


@pytest.mark.parametrize(("changes", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_run_is_refused(changes, parts):
    with pytest.raises(RecipeError) as caught:
        small_job(**{key.replace(".", "__"): value for key, value in changes.items()})
    for part in parts:
        assert part in str(caught.value)


@given(fraction=st.floats(0.1, 0.9), balanced=st.booleans(), seed=st.integers(0, 99))
def test_splits_share_no_image_and_lose_none(fraction, balanced, seed):
    found = arrays(train=50)
    recipe = small(data__validation={"fraction": fraction, "balanced": balanced}, seed=seed)
    job = bound(recipe, train=50)
    train, validation, test = splits(job, found)
    assert len(train.labels) == job.samples
    held_out = plan.held_out(seed, found.train_labels, fraction, balanced=balanced)
    np.testing.assert_array_equal(train.images, found.train_images[~held_out])
    np.testing.assert_array_equal(train.labels, found.train_labels[~held_out])
    np.testing.assert_array_equal(validation.images, found.train_images[held_out])
    np.testing.assert_array_equal(validation.labels, found.train_labels[held_out])
    np.testing.assert_array_equal(test.images, found.test_images)
    for split in (train, validation, test):
        assert split.mean.ravel().tolist() == np.float32(job.normalize.mean).tolist()
        assert split.std.ravel().tolist() == np.float32(job.normalize.std).tolist()


def test_only_training_is_augmented():
    steps = [{"op": "random_crop", "size": 6}, {"op": "random_horizontal_flip"}]
    middle = [{"op": "center_crop", "size": 6}]
    job = small_job(data__augment=steps, data__eval_transform=middle, data__validation={"fraction": 0.2})
    train, validation, test = splits(job, arrays())
    assert train.augment == job.recipe.data.augment
    assert validation.augment == test.augment == (CenterCrop(size=6),)
    assert splits(small_job(), arrays())[1] is None
