"""CIFAR-100: 60,000 colour images of 100 kinds of things (the fine labels), 32x32 (A. Krizhevsky, 2009)."""

from pathlib import Path
from typing import Literal

from xtrain.data.base import Arrays, DatasetInfo
from xtrain.data.cifar_python import load_cifar
from xtrain.data.files import Archive, Published, Source
from xtrain.spec.base import frozen

_CLASS_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

INFO = DatasetInfo(
    name="cifar100",
    title="CIFAR-100, fine labels",
    input_shape=(3, 32, 32),
    train=50_000,
    test=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    class_names=tuple(_CLASS_NAMES.split()),
)
# The archive's SHA-256 is the one in Keras; nobody publishes those of the files in it.
SOURCE = Source(
    folder="cifar100",
    files={
        "train": Published("16019d7e3df5f24257cddd939b257f8d"),
        "test": Published("f0ef6b0ae62326f3e7ffdfab6717acfc"),
    },
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    archive=Archive(
        name="cifar-100-python.tar.gz",
        published=Published(
            "eb9058c3a382ffc7106e4002c42a8d85",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            169_001_437,
        ),
        folder="cifar-100-python",
    ),
)


def load(data_dir: Path | None = None) -> Arrays:
    """Read CIFAR-100; see `xtrain.data.load`."""
    return load_cifar(SOURCE, INFO, "fine_labels", data_dir)


@frozen
class CIFAR100:
    """CIFAR-100."""

    name: Literal["cifar100"] = "cifar100"

    def info(self) -> DatasetInfo:
        """What is published of it."""
        return INFO

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; see `xtrain.data.load`."""
        return load(data_dir)
