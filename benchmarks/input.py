"""How many images a second one core turns into batches, beside torchvision's transforms, image by image.

    taskset -c 0 python benchmarks/input.py --data DIR

Gathered, augmented and normalised, over CIFAR-10's training images; one thread, no step. A repeat times every
row once, and the median of the repeats counts.
"""

import argparse
import itertools
import os
import sys
import time
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import trials
from PIL import Image
from torchvision import transforms

from xtrain import data, plan
from xtrain.data.base import Arrays
from xtrain.data.batches import assemble, per_channel
from xtrain.recipe import load_recipe
from xtrain.spec import Augment, RandomCrop, RandomHorizontalFlip, RandomRotation, Split

BATCH_SIZE = 64
IMAGES = 64 * BATCH_SIZE  # of a repeat
ABOUT = data.info("cifar10")
PAIRS: list[tuple[Augment, object]] = [
    (RandomCrop(size=32, padding=4), transforms.RandomCrop(32, padding=4)),
    (RandomHorizontalFlip(), transforms.RandomHorizontalFlip()),
    (RandomRotation(degrees=15.0), transforms.RandomRotation(15)),
]
"""Each operation here and in torchvision."""
ROWS = {"none": PAIRS[:0], "crop, flip": PAIRS[:2], "crop, flip, rotation": PAIRS}
"""What is done to the images."""


def ours(arrays: Arrays, augment: tuple[Augment, ...]) -> float:
    """Images a second of `xtrain.data.batches.assemble`."""
    count = len(arrays.train_images)
    split = Split(
        arrays.train_images, arrays.train_labels, per_channel(ABOUT.mean), per_channel(ABOUT.std), augment
    )
    draws = plan.train_draws(0, 1, count, BATCH_SIZE, drop_last=False, augment=augment)
    before = time.perf_counter()
    for _ in itertools.islice(assemble(split, draws), IMAGES // BATCH_SIZE):
        pass
    return IMAGES / (time.perf_counter() - before)


def theirs(pictures: list[Image.Image], steps: list[object]) -> float:
    """Images a second of a DataLoader without workers, over pictures that are decoded already."""
    composed = transforms.Compose(
        [*steps, transforms.ToTensor(), transforms.Normalize(ABOUT.mean, ABOUT.std)]
    )
    before = time.perf_counter()
    for start in range(0, len(pictures), BATCH_SIZE):
        torch.stack([composed(picture) for picture in pictures[start : start + BATCH_SIZE]])
    return len(pictures) / (time.perf_counter() - before)


def main(arguments: list[str]) -> None:
    """Measure, print a line for each row, keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    trials.add_arguments(parser)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    arrays = data.load(load_recipe("cifar10_lenet").data.dataset, chosen.data)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in arrays.train_images[:IMAGES]]
    measured: dict[str, dict[str, list[float]]] = {name: {"xtrain": [], "torchvision": []} for name in ROWS}
    for _ in range(chosen.repeats):
        for name, pairs in ROWS.items():
            measured[name]["xtrain"].append(ours(arrays, tuple(augment for augment, _ in pairs)))
            measured[name]["torchvision"].append(theirs(pictures, [step for _, step in pairs]))
    for name, rates in measured.items():
        line = "  ".join(f"{who} {median(rate):>9,.0f} images/s" for who, rate in rates.items())
        print(f"{name:22} {line}")
    trials.write(
        trials.result_path(chosen.results, chosen.name, "input"),
        {"environment": trials.environment(), "images_per_second": measured},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
