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
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CROP, FLIP = RandomCrop(size=32, padding=4), RandomHorizontalFlip()
ROTATION = RandomRotation(degrees=15.0)

ROWS: dict[str, tuple[tuple[Augment, ...], list[object]]] = {
    "none": ((), []),
    "crop, flip": (
        (CROP, FLIP),
        [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()],
    ),
    "crop, flip, rotation": (
        (CROP, FLIP, ROTATION),
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.RandomRotation(15),
        ],
    ),
}
"""What is done to the images, here and in torchvision."""


def ours(arrays: Arrays, augment: tuple[Augment, ...]) -> float:
    """Images a second of `xtrain.data.batches.assemble`."""
    count = len(arrays.train_images)
    split = Split(arrays.train_images, arrays.train_labels, per_channel(MEAN), per_channel(STD), augment)
    draws = plan.train_draws(0, 1, count, BATCH_SIZE, drop_last=False, augment=augment)
    before = time.perf_counter()
    for _ in itertools.islice(assemble(split, draws), IMAGES // BATCH_SIZE):
        pass
    return IMAGES / (time.perf_counter() - before)


def theirs(pictures: list[Image.Image], steps: list[object]) -> float:
    """Images a second of a DataLoader without workers, over pictures that are decoded already."""
    composed = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
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
    arrays = data.load(load_recipe("cifar10_lenet").data, chosen.data)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in arrays.train_images[:IMAGES]]
    measured: dict[str, dict[str, list[float]]] = {name: {"xtrain": [], "torchvision": []} for name in ROWS}
    for _ in range(chosen.repeats):
        for name, (augment, steps) in ROWS.items():
            measured[name]["xtrain"].append(ours(arrays, augment))
            measured[name]["torchvision"].append(theirs(pictures, steps))
    for name, rates in measured.items():
        line = "  ".join(f"{who} {median(rate):>9,.0f} images/s" for who, rate in rates.items())
        print(f"{name:22} {line}")
    trials.write(
        trials.result_path(chosen.results, chosen.name, "input"),
        {"environment": trials.environment(), "images_per_second": measured},
    )


if __name__ == "__main__":
    main(sys.argv[1:])
