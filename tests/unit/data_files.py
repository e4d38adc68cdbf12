"""Writes small data sets in the published formats, with hashes of their own, for tests."""

import gzip
import hashlib
import struct
import tarfile
from pathlib import Path

import numpy as np

from xtrain.data.files import Archive, Published, Source

NOWHERE = ("http://127.0.0.1:9/",)  # the discard port: refused at once


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def published(content):
    """What a data set says of a file of its own."""
    return Published(md5(content), hashlib.sha256(content).hexdigest(), len(content))


def small_images(count, shape, seed=0):
    """uint8 [count, *shape] and labels int64 [count] that go round 0 to 9."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count, dtype=np.int64) % 10


def write(folder, contents):
    """Write files; what is published of them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: published(content) for name, content in contents.items()}


def idx(array):
    """An array of bytes as an IDX file, gzip-compressed."""
    array = np.asarray(array, dtype=np.uint8)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def write_idx(root, name="mnist", *, train=30, test=10, replace=None):
    """A data set of 28x28 images under `root`; `replace` gives other contents for some of its files."""
    contents = {}
    for prefix, count, seed in (("train", train, 1), ("t10k", test, 2)):
        images, labels = small_images(count, (28, 28), seed)
        contents[f"{prefix}-images-idx3-ubyte.gz"] = idx(images)
        contents[f"{prefix}-labels-idx1-ubyte.gz"] = idx(labels)
    files = write(Path(root) / name, contents | (replace or {}))
    return Source(folder=name, files=files, mirrors=NOWHERE)


def python2_pickle(value):
    """`value` as Python 2's cPickle wrote it at protocol 2 (bytes are its strings)."""
    return b"\x80\x02" + _opcodes(value) + b"."


def cifar(count, *, seed=0, label_key=b"labels", labels=None):
    """A CIFAR file of `count` 32x32 images."""
    images, default = small_images(count, (3072,), seed)
    labels = default.tolist() if labels is None else labels
    names = [b"image_%d.png" % place for place in range(count)]
    return python2_pickle({b"batch_label": b"small", label_key: labels, b"data": images, b"filenames": names})


CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def write_cifar(root, name="cifar10", *, per_file=4, replace=None, archive_only=False):
    """A data set like CIFAR-10 under `root`, in the folder its archive makes or in the archive alone."""
    contents = {file: cifar(per_file, seed=place) for place, file in enumerate(CIFAR10_FILES)}
    base, inner = Path(root) / name, "cifar-10-batches-py"
    files = write(base / inner, contents | (replace or {}))
    path = base / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(base / inner, inner)
    packed = Archive(name=path.name, published=published(path.read_bytes()), folder=inner)
    if archive_only:
        for file in files:
            (base / inner / file).unlink()
        (base / inner).rmdir()
    else:
        path.unlink()
    return Source(folder=name, files=files, mirrors=NOWHERE, archive=packed)


def _opcodes(value):  # noqa: PLR0911 - one per type
    match value:
        case bytes() if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case int():
            return b"J" + struct.pack("<i", value)
        case float():
            return b"G" + struct.pack(">d", value)
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(part) for item in value.items() for part in item) + b"u"
        case tuple():
            return b"(" + b"".join(map(_opcodes, value)) + b"t"
        case np.ndarray():
            return array_opcodes(value.shape, b"u1", value.tobytes())
    raise TypeError(value)


def array_opcodes(shape, code, data, *, by_columns=False):
    """An array as NumPy of 2009 pickled it."""
    empty = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + _opcodes((0,))
        + _opcodes(b"b")
        + b"\x87R"
    )
    kind = (
        b"cnumpy\ndtype\n"
        + _opcodes(code)
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    order = b"\x88" if by_columns else b"\x89"
    return empty + b"(K\x01" + _opcodes(shape) + kind + order + _opcodes(data) + b"tb"
