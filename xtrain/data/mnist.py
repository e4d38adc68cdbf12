"""MNIST: 70,000 grey images of handwritten digits, 28x28 pixels (Y. LeCun, C. Cortes, C. Burges, 1998)."""

from pathlib import Path

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Source
from xtrain.data.idx import load_idx

INFO = DatasetInfo(
    name="mnist",
    title="MNIST handwritten digits",
    input_shape=(1, 28, 28),
    train=60_000,
    test=10_000,
    mean=(0.1307,),
    std=(0.3081,),
    class_names=tuple("0123456789"),
)
SOURCE = Source(
    folder="mnist",
    files={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read MNIST; see `xtrain.data.load`."""
    return load_idx(SOURCE, INFO, data_dir)
