import gzip

import numpy as np
import pytest
from data_files import idx, small_images, write_idx

from xtrain import data
from xtrain.data import fashion_mnist, mnist
from xtrain.data.idx import read_idx
from xtrain.errors import DataError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_both_splits_come_as_they_were_written(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SOURCE", write_idx(tmp_path, module.INFO.name, train=30, test=10))
    arrays = data.load(module.INFO.name, tmp_path)
    for images, labels, count, seed in (
        (arrays.train_images, arrays.train_labels, 30, 1),
        (arrays.test_images, arrays.test_labels, 10, 2),
    ):
        expected_images, expected_labels = small_images(count, (1, 28, 28), seed)
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert images.flags.c_contiguous
        assert images.flags.writeable


def header(*values):
    return gzip.compress(bytes(values))


WHOLE = idx(small_images(30, (28, 28))[0])
MALFORMED = {
    "not gzip": (IMAGES, b"<html>not found</html>", "is not a whole gzip file"),
    "empty": (IMAGES, b"", "begins with"),
    "truncated gzip": (IMAGES, WHOLE[: len(WHOLE) // 2], "is not a whole gzip file"),
    "damaged gzip": (IMAGES, WHOLE[:2000] + b"\xff" * 100 + WHOLE[2100:], "is not a whole gzip file"),
    "bad magic": (IMAGES, header(0, 1, 8, 3), "begins with 00 01 08 03, not 00 00 08 03 as IDX does"),
    "floats": (IMAGES, header(0, 0, 13, 3), "begins with 00 00 0d 03"),
    "labels for images": (IMAGES, idx(np.zeros(30)), "begins with 00 00 08 01"),
    "sizes cut off": (IMAGES, header(0, 0, 8, 3, 0, 0, 0, 30), "ends before the sizes of its 3 axes do"),
    "too few values": (
        LABELS,
        header(0, 0, 8, 1, 0, 0, 0, 9, 1, 2),
        r"has 2 values, not the 9 of shape \(9,\)",
    ),
    "too many values": (LABELS, header(0, 0, 8, 1, 0, 0, 0, 1, 1, 2), "has 2 values, not the 1 of shape"),
    "sizes beyond memory": (LABELS, header(0, 0, 8, 1, 255, 255, 255, 255, 0), "not the 4,294,967,295 of"),
    "other image size": (IMAGES, idx(np.zeros((30, 8, 8))), r"has images of \(8, 8\) pixels, not \(28, 28\)"),
    "label out of range": (LABELS, idx([10] * 30), "has label 10, but mnist has 10 classes"),
    "fewer labels": (LABELS, idx([1] * 29), "has 29 labels for the 30 images of train-images"),
}


@pytest.mark.parametrize(("name", "content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_file_is_named(name, content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "SOURCE", write_idx(tmp_path, replace={name: content}))
    with pytest.raises(DataError, match=message) as caught:
        data.load("mnist", tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "mnist" / name))


@pytest.mark.parametrize("length", range(0, len(WHOLE), 997))
def test_every_truncation_is_an_error(length, tmp_path):
    path = tmp_path / IMAGES
    path.write_bytes(WHOLE[:length])
    with pytest.raises(DataError):
        read_idx(path, 3)
