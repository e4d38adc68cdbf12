"""MNIST: 70,000 grey images of handwritten digits, 28x28 pixels (Y. LeCun, C. Cortes, C. Burges, 1998)."""

from pathlib import Path
from typing import Literal

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Published, Source
from xtrain.data.idx import load_idx
from xtrain.spec.base import frozen

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
# SHA-256 were computed from files with the published MD5.
SOURCE = Source(
    folder="mnist",
    files={
        "train-images-idx3-ubyte.gz": Published(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        "train-labels-idx1-ubyte.gz": Published(
            "d53e105ee54ea40749a09fcbcd1e9432",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
        "t10k-images-idx3-ubyte.gz": Published(
            "9fb629c4189551a2d022fa330f9573f3",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        "t10k-labels-idx1-ubyte.gz": Published(
            "ec29112dd5afa0611ce80d1b7f02629c",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    },
    mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read MNIST; see `xtrain.data.load`."""
    return load_idx(SOURCE, INFO, data_dir)


@frozen
class MNIST:
    """MNIST."""

    name: Literal["mnist"] = "mnist"

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        return load(data_dir)
