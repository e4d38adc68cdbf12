import hashlib
import subprocess
import sys

import numpy as np
import pytest

from xtrain import data
from xtrain.data import digits
from xtrain.data.files import Published
from xtrain.errors import DataError


@pytest.fixture(scope="module")
def arrays():
    return data.load("digits")


def test_shapes_and_types(arrays):
    assert arrays.train_images.shape == (1437, 1, 8, 8)
    assert arrays.test_images.shape == (360, 1, 8, 8)
    assert arrays.train_labels.shape == (1437,)
    assert arrays.test_labels.shape == (360,)
    for images in (arrays.train_images, arrays.test_images):
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        assert images.flags.writeable
        assert (images.min(), images.max()) == (0, 255)
    assert arrays.train_labels.dtype == arrays.test_labels.dtype == np.int64


def test_the_split_never_changes(arrays):
    # The published split: a change here changes everyone's accuracy, and needs a new name for the data set.
    parts = (arrays.train_images, arrays.train_labels, arrays.test_images, arrays.test_labels)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    assert digest == "740f6141a2179846be91cbe61d8e8198c6cb669a3ffc40247ddcf5c695bcce31"


def test_it_is_the_digits_of_scikit_learn_split_in_two(arrays):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * 255 / 16).astype(np.uint8)
    test = digits._test_images(bunch.target)
    np.testing.assert_array_equal(arrays.train_images[:, 0], pixels[~test])
    np.testing.assert_array_equal(arrays.test_images[:, 0], pixels[test])
    np.testing.assert_array_equal(arrays.train_labels, bunch.target[~test])
    np.testing.assert_array_equal(arrays.test_labels, bunch.target[test])


def test_each_class_has_its_share_of_the_test_images(arrays):
    train, test = np.bincount(arrays.train_labels), np.bincount(arrays.test_labels)
    exact = 360 * (train + test) / 1797
    assert test.sum() == 360
    assert (np.abs(test - exact) < 1).all()


def test_test_images_are_spread_evenly(arrays):
    labels = np.concatenate([arrays.train_labels, arrays.test_labels])
    chosen = digits._test_images(np.sort(labels))
    for label in range(10):
        gaps = np.diff(np.flatnonzero(chosen[np.sort(labels) == label]))
        assert set(gaps) <= {4, 5, 6}
        assert gaps.max() - gaps.min() <= 1


def test_mean_and_std_are_those_of_the_train_split(arrays):
    pixels = arrays.train_images / 255
    assert digits.INFO.mean == (round(pixels.mean(), 4),)
    assert digits.INFO.std == (round(pixels.std(), 4),)


def test_the_file_holds_what_scikit_learn_has():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    with np.load(digits._FILE) as file:
        assert (file["images"].dtype, file["labels"].dtype) == (np.uint8, np.uint8)
        np.testing.assert_array_equal(file["images"], bunch.images)
        np.testing.assert_array_equal(file["labels"], bunch.target)


def test_source_and_licence_are_named_beside_the_file():
    text = digits._FILE.with_suffix(".txt").read_text(encoding="utf-8")
    assert "Alpaydin" in text
    assert "CC BY 4.0" in text
    assert digits._PUBLISHED.sha256 in text


def test_it_needs_no_package_but_numpy():
    code = (
        "import sys; sys.modules.update(sklearn=None, scipy=None); import xtrain.data as d; d.load('digits')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_file_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(digits, "_PUBLISHED", Published("0" * 32))
    with pytest.raises(DataError, match=r"digits\.npz: is not the published file.*\n  git -C "):
        data.load("digits")
