"""`xtrain` over a handful of made-up images in place of any data set; all else is as a user has it."""

import sys
from dataclasses import replace

import numpy as np

from xtrain import cli, data
from xtrain.data import Arrays

TRAIN, TEST = 40, 20


def load(section, data_dir=None):
    """Images of the data set's shape, bright where the label says."""
    about = data.info(section)
    random = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count, dtype=np.int64) % len(about.class_names)
        images = random.integers(0, 120, (count, *about.input_shape), dtype=np.uint8)
        images.reshape(count, -1)[np.arange(count), labels * 7] = 255
        return images, labels

    return Arrays(*split(TRAIN), *split(TEST))


_info = data.info
data.info = lambda section: replace(_info(section), train=TRAIN, test=TEST)
data.load = load

if __name__ == "__main__":
    sys.exit(cli.main())
