import pickle

import numpy as np
import pytest
from data_files import CIFAR10_FILES, array_opcodes, cifar, python2_pickle, small_images, write, write_cifar
from hypothesis import given
from hypothesis import strategies as st

from xtrain import data
from xtrain.data import cifar10, cifar100
from xtrain.data.cifar_python import FORMAT, read_batch
from xtrain.data.files import Source
from xtrain.errors import DataError
from xtrain.system.pickles import unpickle


def test_cifar10_comes_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "SOURCE", write_cifar(tmp_path, per_file=4))
    arrays = data.load("cifar10", tmp_path)
    written = [small_images(4, (3, 32, 32), place) for place in range(6)]
    np.testing.assert_array_equal(arrays.train_images, np.concatenate([images for images, _ in written[:5]]))
    np.testing.assert_array_equal(arrays.train_labels, np.tile([0, 1, 2, 3], 5))
    np.testing.assert_array_equal(arrays.test_images, written[5][0])
    np.testing.assert_array_equal(arrays.test_labels, [0, 1, 2, 3])
    for images, labels in (
        (arrays.train_images, arrays.train_labels),
        (arrays.test_images, arrays.test_labels),
    ):
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
        assert images.flags.c_contiguous
        assert images.flags.writeable


def test_cifar100_has_the_fine_labels(tmp_path, monkeypatch):
    def both(labels):
        pixels = small_images(3, (3072,))[0]
        return python2_pickle({b"fine_labels": labels, b"coarse_labels": [1, 1, 1], b"data": pixels})

    files = write(tmp_path / "cifar100", {"train": both([99, 0, 7]), "test": both([5, 6, 8])})
    monkeypatch.setattr(cifar100, "SOURCE", Source(folder="cifar100", files=files, mirrors=("http://x/",)))
    arrays = data.load("cifar100", tmp_path)
    assert arrays.train_labels.tolist() == [99, 0, 7]
    assert arrays.test_labels.tolist() == [5, 6, 8]


def test_an_array_stored_by_columns_is_read_by_columns(tmp_path):
    images = small_images(3, (3072,))[0]
    stored = python2_pickle({b"labels": [1, 2, 3], b"data": images}).replace(
        array_opcodes(images.shape, b"u1", images.tobytes()),
        array_opcodes(images.shape, b"u1", images.tobytes(order="F"), by_columns=True),
    )
    (tmp_path / "batch").write_bytes(stored)
    np.testing.assert_array_equal(
        read_batch(tmp_path / "batch", cifar10.INFO, "labels")[0], images.reshape(-1, 3, 32, 32)
    )


def with_array(opcodes):
    return b"\x80\x02}(U\x06labels](K\x01eU\x04data" + opcodes + b"u."


PIXELS = b"\x00" * 3072
MALFORMED = {
    "empty": (b"", "is not a CIFAR file"),
    "text": (b"<html>not found</html>", "is not a CIFAR file"),
    "a list": (python2_pickle([1, 2]), "holds a list, not a dictionary"),
    "no pixels": (python2_pickle({b"labels": [1]}), "has no 'data' of"),
    "pixels of another kind": (python2_pickle({b"labels": [1], b"data": PIXELS}), "has no 'data' of"),
    "other pixels": (
        with_array(array_opcodes((1, 64), b"u1", b"\0" * 64)),
        r"no 'data' of \[N, 3072\] bytes",
    ),
    "floats": (with_array(array_opcodes((1, 3072), b"f4", PIXELS * 4)), "it has an array of '(f4|O)'"),
    "objects": (with_array(array_opcodes((1, 3072), b"O", PIXELS)), "it has an array of '(f4|O)'"),
    "huge": (with_array(array_opcodes((2**30, 2**30), b"u1", PIXELS)), "does not have the shape"),
    "negative": (with_array(array_opcodes((-1, -3072), b"u1", PIXELS)), "is not a CIFAR file"),
    "no labels": (cifar(2, label_key=b"names"), "has no list of integers 'labels'"),
    "labels of floats": (cifar(2, labels=[0.0, 1.0]), "has no list of integers 'labels'"),
    "a label too many": (cifar(2, labels=[1, 2, 3]), "has 3 labels for 2 images"),
    "a label too large": (cifar(2, labels=[1, 10]), "has a label outside 0 to 9, the classes of cifar10"),
    "a label below 0": (cifar(2, labels=[1, -1]), "has a label outside 0 to 9"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_file_is_named(content, message, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "SOURCE", write_cifar(tmp_path, replace={"data_batch_3": content}))
    with pytest.raises(DataError, match=message) as caught:
        data.load("cifar10", tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "cifar10/cifar-10-batches-py/data_batch_3"))


class Hostile:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_not_run(protocol, tmp_path, monkeypatch):
    import os

    mark = tmp_path / "mark"
    content = pickle.dumps({"data": Hostile(os.system, f"touch {mark}")}, protocol=protocol)
    monkeypatch.setattr(cifar10, "SOURCE", write_cifar(tmp_path, replace={"test_batch": content}))
    with pytest.raises(DataError, match=r"it names (posix|nt)\.system\n.*nothing of it was run"):
        data.load("cifar10", tmp_path)
    assert not mark.exists()
    pickle.loads(content)  # noqa: S301 - the plain unpickler does run it: the test above is not empty
    assert mark.exists()


GLOBALS = [
    ("builtins", "eval"),
    ("__builtin__", "eval"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("xtrain.system.pickles", "Array"),
    ("numpy", "dtype.__class__"),
]


@pytest.mark.parametrize(("module", "name"), GLOBALS)
@pytest.mark.parametrize("stacked", [False, True], ids=["GLOBAL", "STACK_GLOBAL"])
def test_every_other_name_is_refused(module, name, stacked, tmp_path):
    path = tmp_path / "batch"
    if stacked:
        named = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93"
        path.write_bytes(b"\x80\x04" + named + b".")
    else:
        path.write_bytes(b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n.")
    with pytest.raises(DataError, match="is not a CIFAR file: it names "):
        unpickle(path, FORMAT)


WHOLE = cifar(2)


@given(length=st.integers(0, len(WHOLE) - 1))
def test_every_truncation_is_an_error(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "truncated_batch"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(DataError):
        read_batch(path, cifar10.INFO, "labels")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="data_batch_1: can't be read: No such file"):
        unpickle(tmp_path / CIFAR10_FILES[0], FORMAT)
