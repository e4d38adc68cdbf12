"""CIFAR-10: 60,000 colour images of 10 kinds of things, 32x32 pixels (A. Krizhevsky, 2009)."""

from pathlib import Path
from typing import Literal

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.cifar_python import load_cifar
from xtrain.data.files import Archive, Published, Source
from xtrain.spec.base import frozen

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
# The SHA-256 of the batches were computed from files with the published MD5, that of the archive is Keras's.
SOURCE = Source(
    folder="cifar10",
    files={
        "data_batch_1": Published(
            "c99cafc152244af753f735de768cd75f",
            "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
            31_035_704,
        ),
        "data_batch_2": Published(
            "d4bba439e000b95fd0a9bffe97cbabec",
            "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
            31_035_320,
        ),
        "data_batch_3": Published(
            "54ebc095f3ab1f0389bbae665268c751",
            "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
            31_035_999,
        ),
        "data_batch_4": Published(
            "634d18415352ddfa80567beed471001a",
            "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
            31_035_696,
        ),
        "data_batch_5": Published(
            "482c414d41f54cd18b22e5b47cb7c3cb",
            "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
            31_035_623,
        ),
        "test_batch": Published(
            "40351d587109b95175f43aff81a1287e",
            "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
            31_035_526,
        ),
    },
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    archive=Archive(
        name="cifar-10-python.tar.gz",
        published=Published(
            "c58f30108f718f92721af3b95e74349a",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            170_498_071,
        ),
        folder="cifar-10-batches-py",
    ),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read CIFAR-10; see `xtrain.data.load`."""
    return load_cifar(SOURCE, INFO, "labels", data_dir)


@frozen
class CIFAR10:
    """CIFAR-10."""

    name: Literal["cifar10"] = "cifar10"

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        return load(data_dir)
