"""Fashion-MNIST: 70,000 grey images of clothing, 28x28 pixels (H. Xiao, K. Rasul, R. Vollgraf, 2017)."""

from pathlib import Path

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.files import Source
from xtrain.data.idx import load_idx

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
SOURCE = Source(
    folder="fashion_mnist",
    files={
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read Fashion-MNIST; see `xtrain.data.load`."""
    return load_idx(SOURCE, INFO, data_dir)
