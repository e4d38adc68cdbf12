"""A data set: stripes that run across or down, in noise, made up from a seed."""

from pathlib import Path
from typing import Literal

import numpy as np

from xtrain.extend import Arrays, Count, DatasetInfo, Fraction, frozen


@frozen
class Stripes:
    """`size` is the images' height and width, `noise` the share of pixels that are random."""

    name: Literal["stripes"] = "stripes"
    size: Count = 8
    noise: Fraction = 0.2

    def info(self) -> DatasetInfo:
        """What is known of it before it is made."""
        return DatasetInfo(
            name="stripes",
            title="Stripes",
            input_shape=(1, self.size, self.size),
            train=256,
            test=64,
            mean=(0.5,),
            std=(0.5,),
            class_names=("across", "down"),
        )

    def load(self, data_dir: Path | None) -> Arrays:
        """Both splits; nothing is read, so `data_dir` is not looked at."""
        random, about = np.random.default_rng(0), self.info()

        def split(count: int) -> tuple[np.ndarray, np.ndarray]:
            labels = np.arange(count, dtype=np.int64) % 2
            rows = np.arange(self.size) // 2 % 2 * 255
            across = np.broadcast_to(rows[:, None], (self.size, self.size))
            images = np.where(labels[:, None, None] == 0, across, across.T)[:, None]
            noisy = random.random(images.shape) < self.noise
            pixels = np.where(noisy, random.integers(0, 256, images.shape), images)
            return pixels.astype(np.uint8), labels

        return Arrays(*split(about.train), *split(about.test))
