"""CIFAR-10: 60,000 colour images of 10 kinds of things, 32x32 pixels (A. Krizhevsky, 2009)."""

from pathlib import Path

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.cifar_python import load_cifar
from xtrain.data.files import Archive, Source

INFO = DatasetInfo(
    name="cifar10",
    title="CIFAR-10",
    input_shape=(3, 32, 32),
    train=50_000,
    test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)
SOURCE = Source(
    folder="cifar10",
    files={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    archive=Archive(
        name="cifar-10-python.tar.gz", md5="c58f30108f718f92721af3b95e74349a", folder="cifar-10-batches-py"
    ),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read CIFAR-10; see `xtrain.data.load`."""
    return load_cifar(SOURCE, INFO, "labels", data_dir)
