"""Reads MNIST and CIFAR-10 for the native loops, with nothing but NumPy and the standard library."""

import gzip
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Mean and standard deviation of each channel, for pixels between 0 and 1, as the tutorials have them.
MEAN_STD = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Both splits: images uint8 [N, H, W] or [N, H, W, 3], labels int64 [N]."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels

    @property
    def mean(self) -> tuple[float, ...]:
        return MEAN_STD[self.name][0]

    @property
    def std(self) -> tuple[float, ...]:
        return MEAN_STD[self.name][1]

    def normalised(self, images: Images) -> NDArray[np.float32]:
        """float32 [N, C, H, W], each operation as ToTensor and Normalize do it."""
        pixels = images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2)
        floats = np.ascontiguousarray(pixels, dtype=np.float32)
        floats /= np.float32(255)
        floats -= np.asarray(self.mean, dtype=np.float32).reshape(-1, 1, 1)
        floats /= np.asarray(self.std, dtype=np.float32).reshape(-1, 1, 1)
        return floats


def read(root: Path, name: str) -> Data:
    """`mnist` or `cifar10`, from `<root>/mnist/*.gz` or `<root>/cifar10/cifar-10-batches-py/`."""
    if name == "mnist":
        folder = root / "mnist"
        splits = [
            _idx(folder / f"{split}-{kind}-ubyte.gz")
            for split in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        ]
        train_images, train_labels, test_images, test_labels = splits
        return Data(
            name, train_images, train_labels.astype(np.int64), test_images, test_labels.astype(np.int64)
        )
    folder = root / "cifar10" / "cifar-10-batches-py"
    parts = [_cifar(folder / f"data_batch_{number}") for number in range(1, 6)]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Data(name, images, labels, *_cifar(folder / "test_batch"))


def _idx(path: Path) -> Images:
    with gzip.open(path) as file:
        content = file.read()
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _cifar(path: Path) -> tuple[Images, Labels]:
    with path.open("rb") as file:
        # The published files are pickles. A benchmark reads its own machine's copy of them, which is trusted.
        batch = pickle.load(file, encoding="bytes")  # noqa: S301
    images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.asarray(batch[b"labels"], dtype=np.int64)
