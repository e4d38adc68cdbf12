"""One's own arrays, in an .npz file and in a directory of .npy files."""

from contextlib import suppress

import numpy as np
import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrain import data
from xtrain.data import own_arrays
from xtrain.data.base import DATASETS, statistics
from xtrain.errors import DataError, UsageError

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8) for count in (7, 4))
LABELS = {"y_train": np.arange(7) % 3, "y_test": np.arange(4) % 3}
GOOD = {"x_train": TRAIN, "x_test": TEST, **LABELS}
FULL = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache/xtrain/own"


def own(kind, path):
    return DATASETS.find(kind)(path=path)


def write(kind, place, contents):
    """As one file or a directory; the section that means it."""
    if kind == "npz":
        np.savez(place, **contents)
        return own("npz", f"{place}.npz")
    place.mkdir(exist_ok=True)
    for name, array in contents.items():
        np.save(place / f"{name}.npy", array)
    return own("npy", str(place))


kinds = pytest.mark.parametrize("kind", ["npz", "npy"])


@kinds
@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW"])
def test_every_layout_is_read(kind, layout, tmp_path):
    given = {"NHWC": lambda x: x, "NCHW": lambda x: x.transpose(0, 3, 1, 2), "NHW": lambda x: x[..., 0]}[
        layout
    ]
    section = write(kind, tmp_path / "own", {**GOOD, "x_train": given(TRAIN), "x_test": given(TEST)})
    arrays, about = data.load(section), data.info(section)
    channels = 1 if layout == "NHW" else 3
    np.testing.assert_array_equal(arrays.train_images, TRAIN.transpose(0, 3, 1, 2)[:, :channels])
    np.testing.assert_array_equal(arrays.test_images, TEST.transpose(0, 3, 1, 2)[:, :channels])
    np.testing.assert_array_equal(arrays.train_labels, LABELS["y_train"])
    assert arrays.train_images.flags.c_contiguous
    assert arrays.train_images.flags.writeable
    assert arrays.test_labels.dtype == np.int64
    assert (about.name, about.train, about.test, about.classes) == (kind, 7, 4, 3)
    assert about.input_shape == (channels, 6, 5)
    assert about.class_names == ("0", "1", "2")
    pixels = arrays.train_images / 255
    np.testing.assert_allclose(about.mean, pixels.mean(axis=(0, 2, 3)), atol=5.1e-5)
    np.testing.assert_allclose(about.std, pixels.std(axis=(0, 2, 3)), atol=5.1e-5)


@kinds
def test_long_names_a_column_of_labels_and_names_of_classes(kind, tmp_path):
    values = (TRAIN, LABELS["y_train"][:, None].astype(np.uint8), TEST, LABELS["y_test"][:, None])
    names = np.array(["cat", "dog", "emu", "fox"])
    section = write(kind, tmp_path / "own", {**dict(zip(FULL, values, strict=True)), "class_names": names})
    assert data.info(section).class_names == ("cat", "dog", "emu", "fox")
    np.testing.assert_array_equal(data.load(section).train_labels, LABELS["y_train"])


BAD = {
    "a missing array": ({"y_test": None}, "does not have y_test"),
    "images of floats": ({"x_train": TRAIN / 255}, "x_train is float64, not uint8.*\n.*astype"),
    "flat images": ({"x_train": TRAIN.reshape(7, -1)}, r"x_train has shape \(7, 90\)"),
    "four channels": ({"x_train": np.zeros((7, 6, 5, 4), np.uint8)}, r"x_train has shape \(7, 6, 5, 4\)"),
    "channels on either side": ({"x_train": np.zeros((7, 3, 5, 3), np.uint8)}, r"has shape \(7, 3, 5, 3\)"),
    "no images": ({"x_train": TRAIN[:0], "y_train": LABELS["y_train"][:0]}, "x_train has no images"),
    "another size": ({"x_test": TEST[:, :5]}, r"x_test has images of shape \(3, 5, 5\)"),
    "too few labels": ({"y_train": np.arange(6)}, r"y_train is int64 of shape \(6,\)"),
    "labels of floats": ({"y_train": np.zeros(7)}, "y_train is float64"),
    "one-hot labels": ({"y_train": np.zeros((7, 3), int)}, r"of shape \(7, 3\)"),
    "a negative label": ({"y_train": np.arange(7) - 1}, "y_train has a label -1"),
    "a huge label": ({"y_test": np.array([0, 1, 2, 2**40])}, "y_test has a label 0 or 1099511627776"),
    "a label beyond the images": ({"y_test": np.array([0, 1, 2, 11])}, "label 11, which is more than"),
    "too few names": ({"class_names": np.array(["a", "b"])}, "label 2, but class_names has 2"),
    "objects": ({"x_train": np.array([{}], dtype=object)}, "plain array.*pickle|pickle"),
}


@kinds
@pytest.mark.parametrize(("changes", "problem"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("function", [data.load, data.info])
def test_a_malformed_array_is_named(kind, changes, problem, function, tmp_path):
    contents = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    section = write(kind, tmp_path / "own", contents)
    with pytest.raises(DataError, match=problem) as caught:
        function(section)
    assert str(caught.value).startswith(section.path)


def test_missing_places_are_named(tmp_path):
    for kind in ("npz", "npy"):
        with pytest.raises(DataError, match="nowhere: there is no such"):
            data.load(own(kind, str(tmp_path / "nowhere")))
        with pytest.raises(UsageError, match=r"without the keys that say which one"):
            data.info(kind)
    with pytest.raises(DataError, match="does not have x_train, y_train"):
        data.load(own("npy", str(tmp_path)))


def test_a_lone_array_or_a_pickle_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", TRAIN)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        data.load(own("npz", str(tmp_path / "x.npz")))
    hostile = b"cos\nsystem\n(S'touch hacked'\ntR."
    (tmp_path / "x.npz").write_bytes(hostile)
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        data.load(own("npz", str(tmp_path / "x.npz")))
    folder = write("npy", tmp_path / "own", GOOD)
    (tmp_path / "own/x_train.npy").write_bytes(hostile)
    with pytest.raises(DataError, match=r"x_train\.npy: is not an \.npy file"):
        data.load(folder)


@given(draw=st.data())
def test_a_damaged_archive_is_named_or_read(draw, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez(path, **GOOD)
    content = bytearray(path.read_bytes())
    if draw.draw(st.booleans()):
        content = content[: draw.draw(st.integers(0, len(content)))]
    else:
        for place in draw.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
            content[place] = draw.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(DataError):
        own("npz", str(path)).load(None)


def test_what_the_arrays_say_is_kept_until_the_file_changes(tmp_path, cache, monkeypatch):
    section = write("npz", tmp_path / "own", GOOD)
    first = data.info(section)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(own_arrays, "measured", None)
        assert data.info(section) == first
    write("npz", tmp_path / "own", {**GOOD, "x_train": TRAIN[:6], "y_train": np.arange(6)})
    assert (data.info(section).train, data.info(section).classes) == (6, 6)
    for entry in cache.iterdir():
        entry.write_text("{damaged")
    assert data.info(section).train == 6


def test_a_cache_that_can_not_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "file" / name)
    assert data.info(write("npz", tmp_path / "own", GOOD)).train == 7


@given(
    count=st.integers(1, 600),
    channels=st.sampled_from([1, 3]),
    side=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_statistics_are_those_of_all_pixels(count, channels, side, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    mean, std = statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 2, 3)), rtol=0, atol=5.001e-5)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 2, 3)), rtol=0, atol=5.001e-5)


@pytest.mark.parametrize("kind", ["npz", "npy", "image_folder"])
@pytest.mark.parametrize("path", ["a" * 300, "nowhere", "a\0b", "/proc/1/fd/x/y"], ids=ascii)
def test_a_path_of_any_name_is_told(kind, path):
    with pytest.raises(DataError, match="there is no such"):
        data.info(own(kind, path))
