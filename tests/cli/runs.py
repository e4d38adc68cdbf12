"""A short run, and what is compared of two that should be the same."""

import json
import shutil

from xtrain.runs.run import Run

SHORT = (
    *("digits_cnn", "--epochs", 2, "--log-every", 1, "--threads", 1),
    *("--set", "loop.checkpoint_every=3", "--set", "loop.keep_last=all", "--set", "model.channels=[8, 16]"),
    *("--set", 'data.augment=[{op = "random_crop", size = 8, padding = 1}]'),
)
"""46 steps with dropout and augmentation, and a checkpoint after every third."""


def end(path):
    """All that a run ends with, but for the time it took."""
    run = Run(path)
    last = run.checkpoint()
    progress = json.loads((last / "progress.json").read_text())["progress"]
    del progress["train_seconds"]
    records = [{k: v for k, v in record.items() if "seconds" not in k} for record in run.history]
    tensors = [(last / f"{name}.safetensors").read_bytes() for name in ("weights", "optimizer")]
    return records, progress, run.checkpoint("best").name, tensors


def copy(source, target):
    """Copy a run."""
    shutil.copytree(source, target)
    return target
