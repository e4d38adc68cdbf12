"""SVHN, from small files of the published format."""

import numpy as np
import pytest
from data_files import NOWHERE, published, small_images
from hypothesis import given
from hypothesis import strategies as st

from xtrain import data
from xtrain.data import svhn
from xtrain.data.files import Source
from xtrain.data.svhn import SVHN
from xtrain.errors import DataError

FILES = ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat")


def write_mat(path, images, labels, **options):
    """Images [N, 3, 32, 32] as MATLAB wrote them: [32, 32, 3, N], and labels as one column."""
    from scipy import io

    content = {"X": images.transpose(2, 3, 1, 0), "y": np.asarray(labels)[:, None]}
    io.savemat(path, {**content, **options})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data root with 12, 10 and 11 images, labels 1 to 10."""
    (tmp_path / "svhn").mkdir()
    for seed, (name, count) in enumerate(zip(FILES, (12, 10, 11), strict=True)):
        images, labels = small_images(count, (3, 32, 32), seed)
        write_mat(tmp_path / "svhn" / name, images, np.where(labels == 0, 10, labels).astype(np.uint8))
    publish(tmp_path, monkeypatch)
    return tmp_path


def publish(root, monkeypatch):
    files = {name: published((root / "svhn" / name).read_bytes()) for name in FILES}
    monkeypatch.setattr(svhn, "SOURCE", Source(folder="svhn", files=files, mirrors=NOWHERE))


def same(images, labels, count, seed):
    expected_images, expected_labels = small_images(count, (3, 32, 32), seed)
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(labels, expected_labels)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert images.flags.c_contiguous
    assert images.flags.writeable


def test_both_splits_come_as_they_were_written_and_label_10_is_0(folder):
    arrays = data.load("svhn", folder)
    same(arrays.train_images, arrays.train_labels, 12, 0)
    same(arrays.test_images, arrays.test_labels, 10, 1)


def test_the_extra_images_follow_the_training_images(folder):
    arrays = data.load(SVHN(extra=True), folder)
    same(arrays.train_images[:12], arrays.train_labels[:12], 12, 0)
    same(arrays.train_images[12:], arrays.train_labels[12:], 11, 2)
    same(arrays.test_images, arrays.test_labels, 10, 1)


def test_without_extra_its_file_is_not_looked_for(folder):
    (folder / "svhn" / FILES[2]).unlink()
    data.load("svhn", folder)
    with pytest.raises(DataError, match=r"extra_32x32\.mat"):
        data.load(SVHN(extra=True), folder)


def test_the_published_files_are_these():
    assert data.info("svhn").train == 73_257
    assert data.info(SVHN(extra=True)).train == 73_257 + 531_131
    assert {name: known.md5 for name, known in svhn.SOURCE.files.items()} == {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
    }
    assert svhn.SOURCE.mirrors == ("http://ufldl.stanford.edu/housenumbers/",)


def test_an_altered_file_is_refused(folder):
    path = folder / "svhn" / FILES[0]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"train_32x32\.mat: is not the published file"):
        data.load("svhn", folder)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64])
def test_labels_that_were_remapped_already_are_kept(tmp_path, kind):
    images, labels = small_images(20, (3, 32, 32))
    write_mat(tmp_path / "x.mat", images, labels.astype(kind))
    np.testing.assert_array_equal(svhn.read_mat(tmp_path / "x.mat")[1], labels)


def test_compressed_files_are_read_too(tmp_path):
    from scipy import io

    images, labels = small_images(20, (3, 32, 32))
    content = {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None] + 1}
    io.savemat(tmp_path / "x.mat", content, do_compression=True)
    np.testing.assert_array_equal(svhn.read_mat(tmp_path / "x.mat")[0], images)


IMAGES, LABELS = small_images(3, (3, 32, 32))
BAD = {
    "no images": ({"X": np.zeros(3)}, "no 'X' of"),
    "images of floats": ({"X": np.zeros((32, 32, 3, 3))}, "no 'X' of"),
    "images of another size": ({"X": np.zeros((28, 28, 3, 3), np.uint8)}, "no 'X' of"),
    "no labels": ({"y": "text"}, "no 'y' of"),
    "labels in two columns": ({"y": np.ones((3, 2))}, "no 'y' of"),
    "too few labels": ({"y": np.ones((2, 1))}, "2 labels for 3 images"),
    "a label of 11": ({"y": np.array([[1], [2], [11]])}, "not one of 0 to 10"),
    "a label of -1": ({"y": np.array([[1], [2], [-1]])}, "not one of 0 to 10"),
    "half a label": ({"y": np.array([[1], [2], [1.5]])}, "not one of 0 to 10"),
    "no number": ({"y": np.array([[1], [2], [np.nan]])}, "not one of 0 to 10"),
    "0 and 10": ({"y": np.array([[0], [2], [10]])}, "labels 0 and 10"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize(("changes", "problem"), BAD.values(), ids=BAD.keys())
def test_a_malformed_file_is_named(changes, problem, tmp_path):
    write_mat(tmp_path / "bad.mat", IMAGES, LABELS, **changes)
    with pytest.raises(DataError, match=problem) as caught:
        svhn.read_mat(tmp_path / "bad.mat")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.mat'}: ")


@given(kept=st.integers(0, 10_000))
def test_a_truncated_file_is_named(kept, tmp_path_factory):
    # Only truncated: of changed bytes scipy's compiled reader may crash, which is why hashes come first.
    path = tmp_path_factory.getbasetemp() / "truncated.mat"
    write_mat(path, IMAGES, LABELS + 1)
    content = path.read_bytes()
    path.write_bytes(content[: min(kept, len(content) - 8)])
    with pytest.raises(DataError) as caught:
        svhn.read_mat(path)
    assert str(caught.value).startswith(f"{path}: ")
