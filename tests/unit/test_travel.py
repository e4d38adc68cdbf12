"""Values on their way to a process with another Python and another NumPy."""

import pickletools
from pathlib import Path, PosixPath, PurePosixPath

import numpy as np
import pytest

from xtrain.recipe import load_recipe
from xtrain.system.travel import packed, unpacked

ARRAYS = {
    "of floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a view": np.arange(10)[::-3],
    "of the other byte order": np.arange(3, dtype=">f4"),
    "of truth values": np.array([True, False]),
    "a number": np.array(7, dtype=np.int64),
    "empty": np.empty((0, 3), np.uint8),
    "of text": np.array(["a", "bc"]),
}


def spelled(data):
    """Names that a pickle holds."""
    found = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    return {name for name in found if "numpy" in name or "pathlib" in name}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_arrives_as_it_was_and_names_no_module_of_numpy(array):
    data = packed({"state": array})
    there = unpacked(data)["state"]
    np.testing.assert_array_equal(there, array)
    assert (there.dtype, there.shape) == (array.dtype, array.shape)
    assert there.flags.writeable
    assert spelled(data) == set()


def test_a_number_of_numpy_stays_one():
    there = unpacked(packed(np.float32(0.1)))
    assert (type(there), there) == (np.float32, np.float32(0.1))


def test_a_path_arrives_and_names_no_module_of_pathlib():
    data = packed([Path("a/b"), None])
    assert unpacked(data) == [Path("a/b"), None]
    assert spelled(data) == set()
    if Path is PosixPath or isinstance(Path(), PosixPath):
        assert unpacked(packed(PurePosixPath("a"))) == PurePosixPath("a")


def test_arrays_of_objects_and_of_records_go_as_pickle_has_them():
    for array in (np.array([{}, None]), np.zeros(2, [("a", "i4")])):
        np.testing.assert_array_equal(unpacked(packed(array)), array)


def test_a_job_arrives_equal():
    job = load_recipe("digits_cnn").bind()
    data = packed(job)
    there = unpacked(data)
    assert (there.recipe, there.data, there.model) == (job.recipe, job.data, job.model)
    assert spelled(data) == set()
