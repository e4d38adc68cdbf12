"""Fashion-MNIST: 70,000 grey images of clothing, 28x28 pixels (H. Xiao, K. Rasul, R. Vollgraf, 2017)."""

from pathlib import Path
from typing import Literal

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Published, Source
from xtrain.data.idx import load_idx
from xtrain.spec.base import frozen

INFO = DatasetInfo(
    name="fashion_mnist",
    title="Fashion-MNIST",
    input_shape=(1, 28, 28),
    train=60_000,
    test=10_000,
    mean=(0.2860,),
    std=(0.3530,),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
# SHA-256 and sizes are those that TensorFlow Datasets and Keras publish of the same files.
SOURCE = Source(
    folder="fashion_mnist",
    files={
        "train-images-idx3-ubyte.gz": Published(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            26_421_880,
        ),
        "train-labels-idx1-ubyte.gz": Published(
            "25c81989df183df01b3e8a0aad5dffbe",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            29_515,
        ),
        "t10k-images-idx3-ubyte.gz": Published(
            "bef4ecab320f06d8554ea6380940ec79",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            4_422_102,
        ),
        "t10k-labels-idx1-ubyte.gz": Published(
            "bb300cfdad3c16e7a12a480ee83cd310",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            5_148,
        ),
    },
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",  # Keras's copy
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read Fashion-MNIST; see `xtrain.data.load`."""
    return load_idx(SOURCE, INFO, data_dir)


@frozen
class FashionMNIST:
    """Fashion-MNIST."""

    name: Literal["fashion_mnist"] = "fashion_mnist"

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        return load(data_dir)
